//! Tests that need something of the machine they run on. Where it is missing
//! they are reported as ignored, with the reason, and never as passed.

use std::sync::{LazyLock, PoisonError, RwLock};

use flopwatt::gpu::adapter::{self, Adapter};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What this machine lacks, in words.
pub struct Missing(pub String);

/// How many tests run at a time. They wait for windows of power and for drivers that
/// compile with one thread most of the time.
const AT_A_TIME: usize = 4;

/// Held by every test: shared, or alone.
static MACHINE: RwLock<()> = RwLock::new(());

/// A test that runs everywhere, beside others.
pub fn anywhere(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        let _beside_others = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        test();
        Ok(())
    })
}

/// A test that runs where `find` finds what it needs, beside others.
pub fn needing<T: 'static>(
    name: impl Into<String>,
    find: impl FnOnce() -> Result<T, Missing> + Send + 'static,
    test: impl FnOnce(T) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, || {
        let _beside_others = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        complete(find, test)
    })
}

/// The same with nothing beside it, for what takes times.
#[allow(dead_code)] // Not every test program does.
pub fn alone<T: 'static>(
    name: impl Into<String>,
    find: impl FnOnce() -> Result<T, Missing> + Send + 'static,
    test: impl FnOnce(T) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, || {
        let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        complete(find, test)
    })
}

fn complete<T>(
    find: impl FnOnce() -> Result<T, Missing>,
    test: impl FnOnce(T),
) -> Result<Completion, Failed> {
    match find() {
        Ok(found) => {
            test(found);
            Ok(Completion::Completed)
        }
        Err(Missing(what)) => Ok(Completion::ignored_with(what)),
    }
}

/// Runs `trials`, some at a time unless the command line says otherwise.
pub fn run(trials: Vec<Trial>) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    libtest_mimic::run(&arguments, trials).exit()
}

/// Every adapter of this machine, at least one.
pub fn adapters() -> Result<&'static [Adapter], Missing> {
    static ADAPTERS: LazyLock<Vec<Adapter>> = LazyLock::new(adapter::enumerate);
    match ADAPTERS.as_slice() {
        [] => Err(Missing(
            "no adapter on this machine; ci/setup installs one that needs no GPU".into(),
        )),
        some => Ok(some),
    }
}
