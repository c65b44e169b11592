//! ACL: users and what they may do. What the rules mean is in [`crate::acl`].

use larder_protocol::{Args, Reply};

use super::command::*;
use super::command_info::help;
use super::parse::{integer, is};
use super::table::TABLE;
use crate::acl::categories::{CATEGORIES, category, has_category};
use crate::acl::password::{GENERATED_BITS, MAX_GENERATED_BITS, generate};
use crate::acl::{Entry, HitsMe, Reach, Selector, has_blanks};
use crate::engine::Engine;
use crate::error::{
    ACL_NOT_SAVED, DEFAULT_USER_STAYS, NO_ACL_FILE, NO_RANDOM_BITS, Outcome, USERNAME, command_not_found,
    password_bits, permission_missing, subcommand_or_arity, unknown_category, user_not_found, wrong_arity,
};
use crate::session::Session;

/// What anyone may call.
const USUAL: u32 = NOSCRIPT | LOADING | STALE;
/// What reads or changes what others may do.
const MANAGES: u32 = USUAL | ADMIN;
/// Hints of those that must be called on every node.
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
/// Entries of the log that are shown unless told otherwise.
const SHOWN: i64 = 10;

pub(super) const COMMANDS: &[Command] = &[
    Command::container("ACL")
        .group(Group::Server)
        .since("6.0.0")
        .complexity("Depends on the subcommand")
        .summary("Shows and changes users and what they may do."),
    Command::session("ACL|CAT", Arity::at_least(1), cat)
        .flags(USUAL)
        .group(Group::Server)
        .since("6.0.0")
        .syntax("[category]")
        .complexity("O(N) for N commands")
        .summary("Lists the categories of commands, or the commands of one.")
        .examples(&[
            ("ACL CAT transaction", "1) \"multi\"\n2) \"exec\"\n3) \"discard\"\n4) \"watch\"\n5) \"unwatch\""),
            ("ACL CAT none", "(error) ERR Unknown category 'none'"),
        ]),
    Command::session("ACL|DELUSER", Arity::at_least(2), deluser)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .syntax("username...")
        .complexity("O(N) for N connections")
        .summary("Removes users and closes their connections; answers how many there were.")
        .tips(EVERYWHERE)
        .examples(&[
            ("ACL SETUSER alice", "OK"),
            ("ACL DELUSER alice bob", "(integer) 1"),
            ("ACL DELUSER default", "(error) ERR The 'default' user cannot be removed"),
        ]),
    Command::session("ACL|DRYRUN", Arity::at_least(3), dryrun)
        .flags(MANAGES)
        .group(Group::Server)
        .since("7.0.0")
        .syntax("username command [arg...]")
        .complexity("O(1)")
        .summary("Tells whether a user may make a call, without making it.")
        .examples(&[
            ("ACL SETUSER alice +get ~a*", "OK"),
            ("ACL DRYRUN alice GET a1", "OK"),
            ("ACL DRYRUN alice GET b1", "\"User alice has no permissions to access the 'b1' key\""),
            ("ACL DRYRUN alice DEL a1", "\"User alice has no permissions to run the 'del' command\""),
        ]),
    Command::session("ACL|GENPASS", Arity::at_least(1), genpass)
        .flags(USUAL)
        .group(Group::Server)
        .since("6.0.0")
        .syntax("[bits]")
        .complexity("O(1)")
        .summary("Makes a random password of 256 bits or as many as asked for, in hexadecimal digits.")
        .examples(&[("ACL GENPASS many", "(error) ERR value is not an integer or out of range")]),
    Command::session("ACL|GETUSER", Arity::exactly(2), getuser)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .syntax("username")
        .complexity("O(N) for N rules of the user")
        .summary("Shows the rules of a user, part by part.")
        .examples(&[("ACL GETUSER nobody", "(nil)")]),
    Command::session("ACL|LIST", Arity::exactly(1), list)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(N) for N users")
        .summary("Shows all users, each as a line of the configuration file declares it.")
        .examples(&[("ACL LIST", "1) \"user default on nopass sanitize-payload ~* &* +@all\"")]),
    Command::session("ACL|LOAD", Arity::exactly(1), load)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(N) for N users")
        .summary("Reads all users anew from the ACL file; if anything is wrong with it, nothing changes."),
    Command::session("ACL|LOG", Arity::at_least(1), log)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .syntax("[count | RESET]")
        .complexity("O(N) for N entries shown")
        .summary("Shows what was denied lately, newest first, or forgets it.")
        .examples(&[("ACL LOG", "(empty array)"), ("ACL LOG RESET", "OK")]),
    Command::session("ACL|SAVE", Arity::exactly(1), save)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(N) for N users")
        .summary("Writes all users into the ACL file.")
        .tips(EVERYWHERE),
    Command::session("ACL|SETUSER", Arity::at_least(2), setuser)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .syntax("username [rule...]")
        .complexity("O(N) for N rules")
        .summary("Makes a user, or changes what a user may do, by rules that apply in order: all of them or none.")
        .tips(EVERYWHERE)
        .examples(&[
            ("ACL SETUSER alice on +@read -get '~a*' &news (%W~log:* +set)", "OK"),
            (
                "ACL LIST",
                "1) \"user alice on sanitize-payload ~a* resetchannels &news -@all +@read -get (%W~log:* resetchannels \
                 -@all +set)\"\n2) \"user default on nopass sanitize-payload ~* &* +@all\"",
            ),
            (
                "ACL SETUSER alice +nosuch",
                "(error) ERR Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL",
            ),
        ]),
    Command::session("ACL|USERS", Arity::exactly(1), users)
        .flags(MANAGES)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(N) for N users")
        .summary("Lists the names of all users.")
        .examples(&[("ACL USERS", "1) \"default\"")]),
    Command::session("ACL|WHOAMI", Arity::exactly(1), whoami)
        .flags(USUAL)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(1)")
        .summary("Answers the name of the user that the connection is.")
        .examples(&[("ACL WHOAMI", "\"default\"")]),
    Command::session("ACL|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of ACL."),
];

fn reach<'a>(engine: &'a Engine, session: &Session) -> Reach<'a> {
    Reach { clients: engine.clients(), channels: engine.channels(), me: session.client.id }
}

fn cat(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    match args.len() {
        2 => {
            reply.array(CATEGORIES.len());
            CATEGORIES.iter().for_each(|name| reply.bulk(name.as_bytes()));
        }
        3 => {
            let category = category(args.at(2)).ok_or_else(|| unknown_category(args.at(2)))?;
            let rows: Vec<&Command> = TABLE.rows().filter(|row| has_category(row, category)).collect();
            reply.array(rows.len());
            rows.iter().for_each(|row| reply.bulk(row.lower_name().as_bytes()));
        }
        _ => return Err(subcommand_or_arity("ACL", args.at(1))),
    }
    Ok(())
}

fn deluser(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let names = args.from(2);
    if names.iter().any(|name| name == b"default") {
        return Err(DEFAULT_USER_STAYS);
    }
    let (removed, HitsMe(hits_me)) = engine.acl().remove(&reach(engine, session), names.iter());
    session.closing |= hits_me;
    reply.int(removed as i64);
    Ok(())
}

fn dryrun(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let user = engine.acl().find(args.at(2)).ok_or_else(|| user_not_found(args.at(2)))?;
    let call = args.from(3);
    let row = TABLE.find(call).map_err(|_| command_not_found(call.at(0)))?;
    if !TABLE.row(row).arity.allows(call.len()) {
        return Err(wrong_arity(&TABLE.row(row).lower_name()));
    }
    match user.rules().check(row, call) {
        Ok(()) => reply.ok(),
        Err(denied) => reply.bulk(&permission_missing(user.name(), denied, &denied.object(row, call))),
    }
    Ok(())
}

fn genpass(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let bits = match args.len() {
        2 => GENERATED_BITS,
        3 => integer(args.at(2))?,
        _ => return Err(subcommand_or_arity("ACL", args.at(1))),
    };
    if !(1..=MAX_GENERATED_BITS).contains(&bits) {
        return Err(password_bits(MAX_GENERATED_BITS));
    }
    reply.bulk(generate(bits as usize).map_err(|_| NO_RANDOM_BITS)?.as_bytes());
    Ok(())
}

fn getuser(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let Some(user) = engine.acl().find(args.at(2)) else {
        reply.null();
        return Ok(());
    };
    let rules = user.rules();
    reply.map(6);
    reply.bulk(b"flags");
    let flags = rules.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    let passwords = rules.passwords();
    reply.array(passwords.len());
    passwords.iter().for_each(|hash| reply.bulk(hash.as_bytes()));
    let mut selectors = rules.selectors();
    selectors.next().into_iter().for_each(|root| write_selector(root, reply));
    reply.bulk(b"selectors");
    reply.array(selectors.clone().count());
    for selector in selectors {
        reply.map(3);
        write_selector(selector, reply);
    }
    Ok(())
}

/// Writes three pairs of a map.
fn write_selector(selector: &Selector, reply: &mut Reply) {
    for (name, rules) in [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(&rules);
    }
}

fn list(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let lines = engine.acl().lines();
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.bulk(&[b"user ", line.as_slice()].concat()));
    Ok(())
}

fn load(engine: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    if engine.settings().aclfile.is_empty() {
        return Err(NO_ACL_FILE);
    }
    let HitsMe(hits_me) = engine.acl().load(engine.config(), &reach(engine, session))?;
    session.closing |= hits_me;
    reply.ok();
    Ok(())
}

fn log(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let count = match args.len() {
        2 => SHOWN,
        3 if is(args.at(2), "RESET") => {
            engine.acl().log.lock().clear();
            reply.ok();
            return Ok(());
        }
        3 => integer(args.at(2))?,
        _ => return Err(subcommand_or_arity("ACL", args.at(1))),
    };
    let now = engine.clock().now_ms();
    let log = engine.acl().log.lock();
    let entries = log.newest(usize::try_from(count).unwrap_or(0));
    reply.array(entries.len());
    entries.for_each(|entry| write_entry(entry, now, reply));
    Ok(())
}

fn write_entry(entry: &Entry, now: u64, reply: &mut Reply) {
    reply.map(10);
    reply.bulk(b"count");
    reply.int(entry.count as i64);
    for (name, value) in [
        ("reason", entry.reason.name().as_bytes()),
        ("context", entry.context.as_bytes()),
        ("object", &entry.object),
        ("username", &entry.user),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(value);
    }
    reply.bulk(b"age-seconds");
    reply.double(now.saturating_sub(entry.updated_ms) as f64 / 1000.0);
    reply.bulk(b"client-info");
    reply.bulk(entry.client.as_bytes());
    for (name, value) in
        [("entry-id", entry.id), ("timestamp-created", entry.created_ms), ("timestamp-last-updated", entry.updated_ms)]
    {
        reply.bulk(name.as_bytes());
        reply.int(value as i64);
    }
}

fn save(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let file = engine.settings().aclfile.get();
    if file.is_empty() {
        return Err(NO_ACL_FILE);
    }
    engine.acl().save(&engine.config().resolve(&file)).map_err(|error| {
        tracing::warn!("Saving the ACL file: {error}");
        ACL_NOT_SAVED
    })?;
    reply.ok();
    Ok(())
}

fn setuser(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let name = args.at(2);
    if has_blanks(name) {
        return Err(USERNAME);
    }
    let rules: Vec<&[u8]> = args.from(3).iter().collect();
    let HitsMe(hits_me) = engine.acl().change(engine.config(), &reach(engine, session), name, &rules)?;
    session.closing |= hits_me;
    reply.ok();
    Ok(())
}

fn users(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let users = engine.acl().all();
    reply.array(users.len());
    users.iter().for_each(|user| reply.bulk(user.name()));
    Ok(())
}

fn whoami(_: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.bulk(session.login.user().name());
    Ok(())
}
