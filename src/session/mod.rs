//! A run: the plan, and the worker process that carries it out.
//!
//! Cases are measured in a process of their own, so that a driver that hangs or
//! crashes costs one case. Parent and worker speak JSON Lines over the worker's
//! standard input and output; end of input means exit. Power limits are set by
//! another process, the guard, which restores the old one in every case.

pub mod adapter;
mod choices;
pub mod guard;
mod limits;
pub mod lock;
mod process;
pub mod protocol;
mod run;
mod together;
mod watchdog;
pub mod worker;

pub use choices::Choices;
pub use limits::{GuardError, PowerLimits};
pub use lock::{AdapterLock, LockError, Locks};
pub(crate) use process::shield_from_interrupt;
pub use process::{Process, WorkerError};
pub use run::{Ended, Goal, Observer, Plan, SessionError, execute, keep};
pub use together::{Member, Together};

#[cfg(all(test, unix))]
pub use run::tests::adapter as test_adapter;
