//! What functions of the host look at while they work for long: whether somebody wants the script to end, and what it may use.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use lua_vm::state::LuaState;
use omnilua::LuaError;

use super::Problem;
use crate::script::control::Control;
use crate::script::interpreter::{Place, place_of};

/// See the module's page.
pub(in crate::script) struct Watch {
    pub(in crate::script) control: Arc<Control>,
    /// What a script may use.
    pub(super) memory_bytes: usize,
    /// Where what ran was told to end.
    place: Rc<RefCell<Option<Place>>>,
}

impl Watch {
    pub(in crate::script) fn new(
        control: Arc<Control>,
        memory_bytes: usize,
        place: Rc<RefCell<Option<Place>>>,
    ) -> Rc<Self> {
        Rc::new(Self { control, memory_bytes, place })
    }

    /// Fails if the script shall end. A `pcall` catches that, but the script's next steps end it.
    pub(super) fn check(&self) -> Result<(), Problem> {
        match self.control.must_end() {
            true => Err("the script was ended".into()),
            false => Ok(()),
        }
    }

    /// Ends what runs, here: no `pcall` catches it.
    pub(super) fn end(&self, state: &mut LuaState) -> LuaError {
        self.place.replace(place_of(state));
        state.sandbox_charge(u64::MAX).unwrap_or_else(|| LuaError::runtime(format_args!("the script was ended")))
    }
}

/// So much is made between two looks at what may be made.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// What a function makes for a script, no more than the script may use.
pub(super) struct Output<'w> {
    pub(super) bytes: Vec<u8>,
    watch: &'w Watch,
}

impl<'w> Output<'w> {
    pub(super) fn new(watch: &'w Watch) -> Self {
        Self { bytes: Vec::new(), watch }
    }

    /// Fails if it is too much, or if the script shall end.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.bytes.len() > self.watch.memory_bytes {
            return Err(Problem::Memory);
        }
        self.watch.check()
    }
}
