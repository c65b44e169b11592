//! CLUSTER, READONLY, READWRITE and ASKING, as a server answers them that is no part of a cluster: every call that is
//! well formed is told that.

use larder_protocol::{Args, Reply};

use super::command::*;
use crate::engine::Engine;
use crate::error::{CLUSTER_DISABLED, Outcome};
use crate::session::Session;

/// The time of most subcommands.
const CONSTANT: &str = "O(1)";
/// The time of those that go over the nodes.
const NODES: &str = "O(N) for N nodes";
/// The time of those that go over their arguments.
const SLOTS: &str = "O(N) for N hash slots";
/// Redis's hint for answers that are not the same twice.
const CHANGING: &[&str] = &["nondeterministic_output"];
/// What subcommands that change a cluster have in common.
const CHANGES: u32 = ADMIN | STALE | NO_ASYNC_LOADING;

/// A row of this family.
const fn row(name: &'static str, arity: Arity, flags: u32) -> Command {
    Command::session(name, arity, disabled).flags(flags).group(Group::Cluster).since("3.0.0").complexity(CONSTANT)
}

pub(super) const COMMANDS: &[Command] = &[
    Command::container("CLUSTER")
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("Depends on the subcommand")
        .summary("Is about clusters, of which this server is no part: every subcommand answers that."),
    row("CLUSTER|ADDSLOTS", Arity::at_least(2), CHANGES)
        .syntax("slot...")
        .complexity(SLOTS)
        .summary("Would give hash slots to the node."),
    row("CLUSTER|ADDSLOTSRANGE", Arity::at_least(3), CHANGES)
        .since("7.0.0")
        .syntax("(start-slot end-slot)...")
        .complexity(SLOTS)
        .summary("Would give ranges of hash slots to the node."),
    row("CLUSTER|BUMPEPOCH", Arity::exactly(1), CHANGES).tips(CHANGING).summary("Would advance the epoch."),
    row("CLUSTER|COUNT-FAILURE-REPORTS", Arity::exactly(2), ADMIN | STALE)
        .syntax("node-id")
        .complexity("O(N) for N reports")
        .tips(CHANGING)
        .summary("Would count how many nodes report that one has failed."),
    row("CLUSTER|COUNTKEYSINSLOT", Arity::exactly(2), STALE)
        .syntax("slot")
        .summary("Would count the keys of a hash slot.")
        .examples(&[("CLUSTER COUNTKEYSINSLOT 0", "(error) ERR This instance has cluster support disabled")]),
    row("CLUSTER|DELSLOTS", Arity::at_least(2), CHANGES)
        .syntax("slot...")
        .complexity(SLOTS)
        .summary("Would take hash slots from the node."),
    row("CLUSTER|DELSLOTSRANGE", Arity::at_least(3), CHANGES)
        .since("7.0.0")
        .syntax("(start-slot end-slot)...")
        .complexity(SLOTS)
        .summary("Would take ranges of hash slots from the node."),
    row("CLUSTER|FAILOVER", Arity::at_least(1), CHANGES)
        .syntax("[FORCE | TAKEOVER]")
        .summary("Would put a replica in its master's place."),
    row("CLUSTER|FLUSHSLOTS", Arity::exactly(1), CHANGES).summary("Would take all hash slots from the node."),
    row("CLUSTER|FORGET", Arity::exactly(2), CHANGES).syntax("node-id").summary("Would remove a node."),
    row("CLUSTER|GETKEYSINSLOT", Arity::exactly(3), STALE)
        .syntax("slot count")
        .complexity("O(N) for N keys")
        .tips(CHANGING)
        .summary("Would answer keys of a hash slot."),
    row("CLUSTER|INFO", Arity::exactly(1), STALE)
        .tips(CHANGING)
        .summary("Would describe the cluster.")
        .examples(&[("CLUSTER INFO", "(error) ERR This instance has cluster support disabled")]),
    row("CLUSTER|KEYSLOT", Arity::exactly(2), STALE)
        .syntax("key")
        .complexity("O(N) for N bytes of the key")
        .summary("Would answer the hash slot of a key."),
    row("CLUSTER|LINKS", Arity::exactly(1), STALE)
        .since("7.0.0")
        .complexity(NODES)
        .tips(CHANGING)
        .summary("Would list the connections between nodes."),
    row("CLUSTER|MEET", Arity::at_least(3), CHANGES).syntax("ip port [cluster-bus-port]").summary("Would add a node."),
    row("CLUSTER|MYID", Arity::exactly(1), STALE).summary("Would answer the node's name."),
    row("CLUSTER|MYSHARDID", Arity::exactly(1), STALE)
        .since("7.2.0")
        .tips(CHANGING)
        .summary("Would answer the name of the node's shard."),
    row("CLUSTER|NODES", Arity::exactly(1), STALE)
        .complexity(NODES)
        .tips(CHANGING)
        .summary("Would describe the nodes."),
    row("CLUSTER|REPLICAS", Arity::exactly(2), ADMIN | STALE)
        .since("5.0.0")
        .syntax("node-id")
        .tips(CHANGING)
        .summary("Would list the replicas of a node."),
    row("CLUSTER|REPLICATE", Arity::exactly(2), CHANGES)
        .syntax("node-id")
        .summary("Would make the node a replica of another."),
    row("CLUSTER|RESET", Arity::at_least(1), ADMIN | STALE | NOSCRIPT)
        .syntax("[HARD | SOFT]")
        .complexity(NODES)
        .summary("Would make the node forget the cluster."),
    row("CLUSTER|SAVECONFIG", Arity::exactly(1), CHANGES).summary("Would save what the node knows of the cluster."),
    row("CLUSTER|SET-CONFIG-EPOCH", Arity::exactly(2), CHANGES).syntax("config-epoch").summary("Would set the epoch."),
    row("CLUSTER|SETSLOT", Arity::at_least(3), CHANGES)
        .syntax("slot (IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE)")
        .summary("Would give a hash slot to a node."),
    row("CLUSTER|SHARDS", Arity::exactly(1), LOADING | STALE)
        .since("7.0.0")
        .complexity(NODES)
        .tips(CHANGING)
        .summary("Would describe which nodes serve which hash slots."),
    row("CLUSTER|SLAVES", Arity::exactly(2), ADMIN | STALE)
        .deprecated("5.0.0", "`CLUSTER REPLICAS`")
        .syntax("node-id")
        .tips(CHANGING)
        .summary("Would list the replicas of a node."),
    row("CLUSTER|SLOTS", Arity::exactly(1), LOADING | STALE)
        .deprecated("7.0.0", "`CLUSTER SHARDS`")
        .complexity(NODES)
        .tips(CHANGING)
        .summary("Would describe which nodes serve which hash slots."),
    row("CLUSTER|HELP", Arity::exactly(1), LOADING | STALE)
        .since("5.0.0")
        .summary("Would list the subcommands of CLUSTER; it answers as these do."),
    row("READONLY", Arity::exactly(0), LOADING | STALE | FAST | CONNECTION)
        .summary("Would let the connection read from replicas in a cluster.")
        .examples(&[("READONLY", "(error) ERR This instance has cluster support disabled")]),
    row("READWRITE", Arity::exactly(0), LOADING | STALE | FAST | CONNECTION).summary("Would end what READONLY began."),
    row("ASKING", Arity::exactly(0), FAST | CONNECTION)
        .summary("Would announce a command for a hash slot that is on its way between nodes."),
];

fn disabled(_: &Engine, _: &mut Session, _: Args<'_>, _: &mut Reply) -> Outcome {
    Err(CLUSTER_DISABLED)
}
