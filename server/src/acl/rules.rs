//! The rules of one user: whether and with what it may log in, and its selectors. They are never changed in place:
//! whoever changes a user works on a copy and puts that in their stead, so that a mistake changes nothing.

use std::borrow::Cow;

use larder_protocol::Args;

use super::password::Hash;
use super::selector::{Denied, Selector};

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleError {
    /// No command and no category has this name.
    Unknown,
    Syntax,
    /// A pattern of keys where all are allowed.
    KeysAfterAll,
    /// A pattern of channels where all are allowed.
    ChannelsAfterAll,
    /// A password to be removed that there is not.
    NoSuchPassword,
    BadHash,
    FirstArgOfSubcommand,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    enabled: bool,
    /// Every password is right.
    nopass: bool,
    /// What RESTORE is given need not be checked.
    skips_sanitizing: bool,
    passwords: Vec<Hash>,
    root: Selector,
    selectors: Vec<Selector>,
    /// Whether all channels are open to a new selector (`acl-pubsub-default`).
    opens_channels: bool,
}

impl Rules {
    /// A new user's: it cannot log in and may do nothing, but use channels if these are open to new users.
    pub(crate) fn new(opens_channels: bool) -> Self {
        Self {
            enabled: false,
            nopass: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            root: Selector::new(opens_channels),
            selectors: Vec::new(),
            opens_channels,
        }
    }

    /// Those of the user called default as long as nobody changes them: anyone may do anything.
    pub(crate) fn everything() -> Self {
        Self { enabled: true, nopass: true, root: Selector::everything(), ..Self::new(false) }
    }

    /// A copy to be changed, under the option as it is now.
    pub(crate) fn draft(&self, opens_channels: bool) -> Self {
        Self { opens_channels, ..self.clone() }
    }

    /// Applies a rule. On an error the rules are to be thrown away.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.skips_sanitizing = true,
            b"sanitize-payload" => self.skips_sanitizing = false,
            b"nopass" => (self.nopass, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.nopass, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.selectors.clear(),
            b"reset" => *self = Self::new(self.opens_channels),
            _ => match rule {
                [b'>', password @ ..] => self.add_password(Hash::of(password)),
                [b'#', hash @ ..] => self.add_password(Hash::parse(hash).ok_or(RuleError::BadHash)?),
                [b'<', password @ ..] => self.remove_password(Hash::of(password))?,
                [b'!', hash @ ..] => self.remove_password(Hash::parse(hash).ok_or(RuleError::BadHash)?)?,
                [b'(', inside @ .., b')'] => self.selectors.push(Selector::parse(inside, self.opens_channels)?),
                _ => self.root.apply(rule)?,
            },
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        self.nopass = false;
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
    }

    fn remove_password(&mut self, hash: Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| *known == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Sets the one password (`requirepass`); an empty one lets everyone in.
    pub(crate) fn require(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.nopass = password.is_empty();
        if !password.is_empty() {
            self.add_password(Hash::of(password));
        }
    }

    /// Whether a password with this hash lets in.
    pub(crate) fn lets_in(&self, password: &Hash) -> bool {
        let is_right = password.is_among(&self.passwords);
        self.enabled && (self.nopass || is_right)
    }

    /// Whether anyone is let in without a word.
    pub(crate) fn lets_all_in(&self) -> bool {
        self.enabled && self.nopass
    }

    /// Whether there is no password to be given.
    pub(crate) fn has_no_password(&self) -> bool {
        self.nopass
    }

    /// Whether the user can log in at all.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Every selector, the one without parentheses first.
    pub(crate) fn selectors(&self) -> impl Iterator<Item = &Selector> + Clone {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Whether nothing is forbidden.
    pub(crate) fn allow_everything(&self) -> bool {
        self.selectors().any(Selector::allows_everything)
    }

    /// Whether a call is allowed. The selector that got furthest says why not.
    pub(crate) fn check(&self, row: u16, args: Args<'_>) -> Result<(), Denied> {
        let mut reason = Denied::Command;
        for selector in self.selectors() {
            match selector.check(row, args) {
                Ok(()) => return Ok(()),
                Err(denied) => reason = reason.max(denied),
            }
        }
        Err(reason)
    }

    /// Whether a call is allowed that reads keys which its arguments do not name, so that all must be readable.
    pub(crate) fn check_reading_every_key(&self, row: u16, args: Args<'_>) -> bool {
        self.selectors().any(|selector| selector.reads_every_key() && selector.check(row, args).is_ok())
    }

    /// Whether a channel, or a pattern of channels, may be listened to.
    pub(crate) fn allow_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors().any(|selector| selector.allows_channel(name, is_pattern))
    }

    /// Whether these rules allow every channel that `old` allowed, as can be seen from the patterns.
    pub(crate) fn keep_channels_of(&self, old: &Self) -> bool {
        let has = |pattern: &Vec<u8>| self.selectors().any(|selector| selector.channels().contains(pattern));
        self.selectors().any(Selector::has_all_channels)
            || old.selectors().all(|selector| !selector.has_all_channels() && selector.channels().iter().all(has))
    }

    /// The names of the flags, in Redis's order.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let flags = [
            (self.enabled, "on"),
            (!self.enabled, "off"),
            (self.nopass, "nopass"),
            (self.skips_sanitizing, "skip-sanitize-payload"),
            (!self.skips_sanitizing, "sanitize-payload"),
        ];
        flags.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect()
    }

    /// The hashes of the passwords, as text.
    pub(crate) fn passwords(&self) -> Vec<String> {
        self.passwords.iter().map(Hash::text).collect()
    }

    /// The rules that make this user anew, as ACL LIST shows them.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()).collect();
        parts.extend(self.passwords().iter().map(|hash| format!("#{hash}").into_bytes()));
        parts.push(self.root.describe());
        parts.extend(self.selectors.iter().map(|selector| [b"(", &*selector.describe(), b")"].concat()));
        parts.join(&b' ')
    }
}

/// Puts the words of selectors together that stand in several arguments. The error is the one that opens a parenthesis
/// which is not closed.
pub(crate) fn merge_selectors<'a>(rules: &[&'a [u8]]) -> Result<Vec<Cow<'a, [u8]>>, &'a [u8]> {
    let mut merged = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for &rule in rules {
        if let Some((_, text)) = &mut open {
            text.push(b' ');
            text.extend_from_slice(rule);
        } else if rule.starts_with(b"(") && !rule.ends_with(b")") {
            open = Some((rule, rule.to_vec()));
        } else {
            merged.push(Cow::Borrowed(rule));
        }
        if rule.ends_with(b")")
            && let Some((_, text)) = open.take()
        {
            merged.push(Cow::Owned(text));
        }
    }
    match open {
        Some((first, _)) => Err(first),
        None => Ok(merged),
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;
    use crate::commands::table::TABLE;

    fn rules(text: &str) -> Rules {
        let mut rules = Rules::new(false);
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        merge_selectors(&words).unwrap().iter().for_each(|rule| rules.apply(rule).unwrap());
        rules
    }

    fn described(text: &str) -> String {
        String::from_utf8(rules(text).describe()).unwrap()
    }

    #[test]
    fn what_is_described_makes_the_same_rules() {
        for text in [
            "on nopass ~* &* +@all",
            "off resetchannels +get -@read +@write +config|get -set %R~foo (~a* +get)",
            "on >secret >other +@all -@dangerous +debug|object +select|0 %W~x %RW~y (%R~z &c -@all +publish) (allkeys)",
            "skip-sanitize-payload +@all -function +fcall -xgroup|create",
        ] {
            let text = described(text);
            assert_eq!(described(&text), text);
        }
    }

    #[test]
    fn later_rules_replace_earlier_ones_about_the_same() {
        for (text, commands) in [
            ("+get -get", "-@all -get"),
            ("+config|get +config|set -config", "-@all -config"),
            ("+config -config|get", "-@all +config -config|get"),
            ("+@read -@READ +GET", "-@all -@read +get"),
            ("+get +@all", "+@all"),
            ("+client|id +client|id -client|info", "-@all +client|id -client|info"),
            ("+select|0 +select|1 -select", "-@all -select"),
        ] {
            assert_eq!(rules(text).root.describe_commands(), commands.as_bytes(), "{text}");
        }
    }

    #[test]
    fn wrong_rules_say_why() {
        for (text, error) in [
            ("+nosuch", RuleError::Unknown),
            ("+", RuleError::Unknown),
            ("-get|x", RuleError::Unknown),
            ("+@nosuch", RuleError::Unknown),
            ("+config|nosuch", RuleError::Unknown),
            ("+config|get|x", RuleError::FirstArgOfSubcommand),
            ("+select|", RuleError::Syntax),
            ("~a b", RuleError::Syntax),
            ("%~a", RuleError::Syntax),
            ("%RR~a", RuleError::Syntax),
            ("%X~a", RuleError::Syntax),
            ("%", RuleError::Syntax),
            ("nosuch", RuleError::Syntax),
            ("(on)", RuleError::Syntax),
            ("<none", RuleError::NoSuchPassword),
            ("#12", RuleError::BadHash),
            ("!12", RuleError::BadHash),
        ] {
            assert_eq!(Rules::new(false).apply(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(rules("allkeys").apply(b"~a"), Err(RuleError::KeysAfterAll));
        assert_eq!(rules("allkeys").apply(b"%X~a"), Err(RuleError::KeysAfterAll));
        assert_eq!(rules("allchannels").apply(b"&a"), Err(RuleError::ChannelsAfterAll));
    }

    #[test]
    fn selectors_may_come_in_pieces() {
        let merge = |words: &[&'static str]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let shown = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
            merge_selectors(&words)
                .map(|merged| merged.iter().map(|word| shown(word)).collect::<Vec<_>>())
                .map_err(shown)
        };
        assert_eq!(
            merge(&["on", "(", "+get", "~a", ")", "(x)"]),
            Ok(vec!["on".into(), "( +get ~a )".into(), "(x)".into()])
        );
        assert_eq!(merge(&["(+get", "~a)", "off"]), Ok(vec!["(+get ~a)".into(), "off".into()]));
        assert_eq!(merge(&["on", "(+get", "~a"]), Err("(+get".into()));
    }

    #[test]
    fn one_selector_must_allow_a_call_and_reading_every_key() {
        let args = OwnedArgs::from_slices(&[b"GET", b"a"]);
        let row = TABLE.number(b"GET").unwrap();
        for (text, allowed) in [
            ("+get ~*", true),
            ("+get %R~*", true),
            ("+get %W~*", false),
            ("+get ~a", false),
            ("+get ~a (allkeys)", false),
            ("-@all (+@read %R~*)", true),
            ("~*", false),
        ] {
            assert_eq!(rules(text).check_reading_every_key(row, args.as_args()), allowed, "{text}");
        }
    }

    #[test]
    fn the_selector_that_got_furthest_says_why_not() {
        let (get, publish) = (TABLE.number(b"MGET").unwrap(), TABLE.number(b"PUBLISH").unwrap());
        let args = OwnedArgs::from_slices(&[b"MGET", b"a", b"b"]);
        for (text, expected) in [
            ("~*", Err(Denied::Command)),
            ("+mget (~*)", Err(Denied::Key(1))),
            ("+mget (+mget ~a)", Err(Denied::Key(2))),
            ("+mget ~a (+mget ~b)", Err(Denied::Key(2))),
            ("+mget ~a (+mget ~[ab])", Ok(())),
        ] {
            assert_eq!(rules(text).check(get, args.as_args()), expected, "{text}");
        }
        let args = OwnedArgs::from_slices(&[b"PUBLISH", b"a", b"b"]);
        assert_eq!(rules("+publish &b (~*)").check(publish, args.as_args()), Err(Denied::Channel(1)));
    }

    #[test]
    fn channels_are_kept_where_the_patterns_are() {
        for (new, old, kept) in [
            ("&*", "&*", true),
            ("&a", "&*", false),
            ("&a &b", "&a", true),
            ("(&a) &b", "&a", true),
            ("&a", "&a (&b)", false),
            ("&?", "&a", false),
        ] {
            assert_eq!(rules(new).keep_channels_of(&rules(old)), kept, "{new} after {old}");
        }
    }
}
