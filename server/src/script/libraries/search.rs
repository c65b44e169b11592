//! `string.find`, `match`, `gmatch` and `gsub` of Lua 5.1.

use std::rc::Rc;

use lua_types::{GcRef, LuaString, LuaType, LuaUserData, LuaValue};
use lua_vm::api;
use lua_vm::debug::{arg_error_impl, c_api_runtime};
use lua_vm::state::LuaState;
use omnilua::LuaError;

use super::native::{FIRST_UPVALUE, upvalue};
use super::numbers::check_number;
use super::pattern::{Capture, Fault, STEP, Search};
use super::printed;
use super::watch::Watch;
use super::whole::whole;
use crate::script::natives::{add, exhausted};

/// Bytes of a pattern that mean something else than themselves.
const SPECIALS: &[u8] = b"^$*+?.([%-";
/// Digits of a number that becomes text.
pub(super) const DIGITS: usize = 14;

type Function = fn(&mut LuaState, &Watch) -> Result<usize, LuaError>;

/// Puts the functions in the place of the interpreter's.
pub(super) fn install(state: &mut LuaState, watch: &Rc<Watch>) -> Result<(), LuaError> {
    let of = |state: &mut LuaState, function: Function| {
        let watch = watch.clone();
        add(state, move |state| function(state, &watch))
    };
    let of_gmatch = watch.clone();
    let gmatch = add(state, move |state| gmatch(state, &of_gmatch));
    let functions = [
        ("find", of(state, |state, watch| search(state, watch, true))),
        ("match", of(state, |state, watch| search(state, watch, false))),
        ("gsub", of(state, gsub)),
        ("gmatch", gmatch),
        ("gfind", gmatch),
    ];
    api::get_global(state, b"string")?;
    for (name, function) in functions {
        state.push(function);
        api::set_field(state, -2, name.as_bytes())?;
    }
    api::set_top(state, -2)
}

/// A text that is an argument. It stays on the stack, so that it lives as long as the call.
pub(super) fn text(state: &mut LuaState, at: i32) -> Result<GcRef<LuaString>, LuaError> {
    match api::to_lua_string(state, at)? {
        Some(text) => Ok(text),
        None => Err(state.check_arg_string(at).err().unwrap_or_else(|| arg_error_impl(state, at, b"string expected"))),
    }
}

/// A whole number that may be missing.
pub(super) fn optional(state: &mut LuaState, at: i32, default: i64) -> Result<i64, LuaError> {
    match api::lua_type_at(state, at) {
        LuaType::None | LuaType::Nil => Ok(default),
        _ => check_number(state, at).map(whole),
    }
}

/// A search that may take as many steps as the script has left.
fn begin<'s>(state: &LuaState, watch: &'s Watch, text: &'s [u8], pattern: &'s [u8]) -> Search<'s> {
    let left = match state.sandbox_match_step_limit() {
        0 => u64::MAX,
        steps => steps.saturating_mul(STEP),
    };
    Search::new(text, pattern, left, &watch.control)
}

/// Charges what a search has taken, and gives what it has found.
fn charge<T>(state: &mut LuaState, watch: &Watch, spent: u64, found: Result<T, Fault>) -> Result<T, LuaError> {
    match found {
        Ok(found) => match state.sandbox_charge(spent / STEP) {
            Some(error) => Err(error),
            None => Ok(found),
        },
        Err(Fault::Text(text)) => Err(c_api_runtime(state, text.as_bytes().to_vec())),
        Err(Fault::Steps | Fault::Ended) => Err(watch.end(state)),
    }
}

/// The first match from a place on.
fn first(search: &mut Search<'_>, from: usize, is_bound: bool) -> Result<Option<(usize, usize)>, Fault> {
    for at in from..=search.text.len() {
        if let Some(end) = search.at(at)? {
            return Ok(Some((at, end)));
        }
        if is_bound {
            break;
        }
    }
    Ok(None)
}

/// `string.find` and `string.match`.
fn search(state: &mut LuaState, watch: &Watch, is_find: bool) -> Result<usize, LuaError> {
    let (of_text, of_pattern) = (text(state, 1)?, text(state, 2)?);
    let (text, pattern) = (of_text.as_bytes(), of_pattern.as_bytes());
    let from = optional(state, 3, 1)?;
    let from = if from < 0 { from.saturating_add(text.len() as i64 + 1) } else { from };
    let from = usize::try_from(from.saturating_sub(1)).unwrap_or(0).min(text.len());
    let written = pattern.split(|byte| *byte == 0).next().unwrap_or_default();
    if is_find && (api::to_boolean(state, 4) || !written.iter().any(|byte| SPECIALS.contains(byte))) {
        let Some(at) = memchr::memmem::find(&text[from..], pattern) else {
            api::push_nil(state);
            return Ok(1);
        };
        api::push_number(state, (from + at + 1) as f64);
        api::push_number(state, (from + at + pattern.len()) as f64);
        return Ok(2);
    }
    let mut search = begin(state, watch, text, pattern);
    let is_bound = search.take_anchor();
    let found = first(&mut search, from, is_bound);
    match charge(state, watch, search.spent(), found)? {
        None => {
            api::push_nil(state);
            Ok(1)
        }
        Some((at, end)) if is_find => {
            api::push_number(state, (at + 1) as f64);
            api::push_number(state, end as f64);
            Ok(2 + push_captures(state, &search)?)
        }
        Some((at, end)) => push_match(state, &search, at, end),
    }
}

/// Gives the captures of a match, or all of it if there are none.
fn push_match(state: &mut LuaState, search: &Search<'_>, at: usize, end: usize) -> Result<usize, LuaError> {
    if search.captures().is_empty() {
        state.push_string(&search.text[at..end])?;
        return Ok(1);
    }
    push_captures(state, search)
}

fn push_captures(state: &mut LuaState, search: &Search<'_>) -> Result<usize, LuaError> {
    let captures = search.captures();
    if !api::check_stack(state, captures.len() as i32) {
        return Err(c_api_runtime(state, b"stack overflow (too many captures)".to_vec()));
    }
    captures.iter().try_for_each(|capture| push_capture(state, search.text, *capture))?;
    Ok(captures.len())
}

fn push_capture(state: &mut LuaState, text: &[u8], capture: Capture) -> Result<(), LuaError> {
    match capture {
        Capture::Open(_) => Err(c_api_runtime(state, b"unfinished capture".to_vec())),
        Capture::Closed(from, to) => state.push_string(&text[from..to]),
        Capture::Position(at) => {
            api::push_number(state, (at + 1) as f64);
            Ok(())
        }
    }
}

/// `string.gmatch`: gives a function that has the watch, the text, the pattern and where it goes on.
fn gmatch(state: &mut LuaState, watch: &Rc<Watch>) -> Result<usize, LuaError> {
    text(state, 1)?;
    text(state, 2)?;
    let watched = LuaUserData::placeholder();
    watched.set_host_value(Some(watch.clone()));
    state.push(LuaValue::UserData(GcRef::new(watched)));
    api::push_value(state, 1);
    api::push_value(state, 2);
    api::push_number(state, 0.0);
    state.push_c_closure(next_match, 4)?;
    Ok(1)
}

/// What [`gmatch`] gives: the next match, and nothing where there is none.
fn next_match(state: &mut LuaState) -> Result<usize, LuaError> {
    const PLACE: i32 = FIRST_UPVALUE - 3;
    let watch = match upvalue(state, 0) {
        LuaValue::UserData(watched) => watched.host_value().and_then(|watch| watch.downcast::<Watch>().ok()),
        _ => None,
    };
    let watch = watch.ok_or_else(|| c_api_runtime(state, b"the search is over".to_vec()))?;
    api::set_top(state, 0)?;
    (1..4).for_each(|number| api::push_value(state, FIRST_UPVALUE - number));
    let (text, pattern) = (text(state, 1)?, text(state, 2)?);
    let from = whole(check_number(state, 3)?) as usize;
    let mut search = begin(state, &watch, text.as_bytes(), pattern.as_bytes());
    let found = first(&mut search, from, false);
    let Some((at, end)) = charge(state, &watch, search.spent(), found)? else { return Ok(0) };
    // Behind an empty match it would be found again.
    api::push_number(state, end.max(at + 1) as f64);
    api::copy(state, -1, PLACE);
    push_match(state, &search, at, end)
}

/// `string.gsub`.
fn gsub(state: &mut LuaState, watch: &Watch) -> Result<usize, LuaError> {
    let (of_text, of_pattern) = (text(state, 1)?, text(state, 2)?);
    let text = of_text.as_bytes();
    let kind = api::lua_type_at(state, 3);
    let most = i64::from(optional(state, 4, text.len() as i64 + 1)? as i32);
    let replacement = match kind {
        LuaType::Number | LuaType::String => api::to_lua_string(state, 3)?,
        LuaType::Table | LuaType::Function => None,
        _ => return Err(arg_error_impl(state, 3, b"string/function/table expected")),
    };
    let mut search = begin(state, watch, text, of_pattern.as_bytes());
    let is_bound = search.take_anchor();
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while count < most {
        let found = search.at(at);
        let end = match found {
            Ok(end) => end,
            fault => charge(state, watch, search.spent(), fault)?,
        };
        if let Some(end) = end {
            count += 1;
            let mut made = Made { watch, out: &mut out, span: (at, end) };
            match &replacement {
                Some(replacement) => made.insert(state, &search, replacement.as_bytes())?,
                None => made.insert_value(state, &search, kind)?,
            }
        }
        match end {
            Some(end) if end > at => at = end,
            _ if at < text.len() => {
                out.push(text[at]);
                at += 1;
            }
            _ => break,
        }
        if is_bound {
            break;
        }
    }
    charge(state, watch, search.spent(), Ok(()))?;
    out.extend_from_slice(&text[at..]);
    state.push_string(&out)?;
    api::push_number(state, count as f64);
    Ok(2)
}

/// What `gsub` makes of a match.
struct Made<'m> {
    watch: &'m Watch,
    out: &'m mut Vec<u8>,
    span: (usize, usize),
}

impl Made<'_> {
    fn add(&mut self, state: &LuaState, bytes: &[u8]) -> Result<(), LuaError> {
        if self.out.len() + bytes.len() > self.watch.memory_bytes {
            return Err(exhausted(state));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// A capture of a match; the first one of none is the match.
    fn capture(&self, state: &mut LuaState, search: &Search<'_>, number: usize) -> Result<Capture, LuaError> {
        match search.captures().get(number) {
            Some(capture) => Ok(*capture),
            None if number == 0 => Ok(Capture::Closed(self.span.0, self.span.1)),
            None => Err(c_api_runtime(state, b"invalid capture index".to_vec())),
        }
    }

    /// Inserts a text with captures in it.
    fn insert(&mut self, state: &mut LuaState, search: &Search<'_>, mut rest: &[u8]) -> Result<(), LuaError> {
        while let Some(at) = memchr::memchr(b'%', rest) {
            self.add(state, &rest[..at])?;
            // As in Redis: behind the end of the text stands a zero.
            let letter = rest.get(at + 1).copied().unwrap_or(0);
            rest = rest.get(at + 2..).unwrap_or_default();
            match letter {
                b'0' => self.add(state, &search.text[self.span.0..self.span.1])?,
                b'1'..=b'9' => match self.capture(state, search, usize::from(letter - b'1'))? {
                    Capture::Closed(from, to) => self.add(state, &search.text[from..to])?,
                    Capture::Position(at) => self.add(state, printed((at + 1) as f64, DIGITS).as_bytes())?,
                    Capture::Open(_) => return Err(c_api_runtime(state, b"unfinished capture".to_vec())),
                },
                other => self.add(state, &[other])?,
            }
        }
        self.add(state, rest)
    }

    /// Inserts what a table has or a function gives for a match; nothing and false leave it as it is.
    fn insert_value(&mut self, state: &mut LuaState, search: &Search<'_>, kind: LuaType) -> Result<(), LuaError> {
        let (at, end) = self.span;
        if matches!(kind, LuaType::Table) {
            let key = self.capture(state, search, 0)?;
            push_capture(state, search.text, key)?;
            api::get_table(state, 3)?;
        } else {
            api::push_value(state, 3);
            let count = push_match(state, search, at, end)?;
            api::call_k(state, count as i32, 1, 0, None)?;
        }
        if !api::to_boolean(state, -1) {
            self.add(state, &search.text[at..end])?;
        } else if let Some(value) = api::to_lua_string(state, -1)? {
            self.add(state, value.as_bytes())?;
        } else {
            let of_type = api::lua_type_at(state, -1);
            let got = api::type_name(state, of_type);
            return Err(c_api_runtime(state, [b"invalid replacement value (a ", got, b")"].concat()));
        }
        api::set_top(state, -2)
    }
}
