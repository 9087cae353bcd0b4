//! Tests that need something of the machine they run on. Where it is missing
//! they are reported as ignored, with the reason, and never as passed.

use std::sync::LazyLock;

use flopwatt::gpu::adapter::{self, Adapter};
use libtest_mimic::{Arguments, Completion, Trial};

/// What this machine lacks, in words.
pub struct Missing(pub String);

/// A test that runs everywhere.
pub fn anywhere(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        test();
        Ok(())
    })
}

/// A test that runs where `find` finds what it needs.
pub fn needing<T: 'static>(
    name: impl Into<String>,
    find: impl FnOnce() -> Result<T, Missing> + Send + 'static,
    test: impl FnOnce(T) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match find() {
        Ok(found) => {
            test(found);
            Ok(Completion::Completed)
        }
        Err(Missing(what)) => Ok(Completion::ignored_with(what)),
    })
}

/// Runs `trials` one after the other, unless the command line says otherwise:
/// they share one device.
pub fn run(trials: Vec<Trial>) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
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
