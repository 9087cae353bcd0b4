//! What other adapters measure at the same time, as a case sees it.

use super::Stopped;

/// Adapters that work on the same case.
pub trait Others {
    /// Waits until all of them are ready for their next timed dispatches, the device
    /// idle meanwhile. False where nobody is waited for.
    ///
    /// # Errors
    /// When nobody can say whether they are.
    fn wait(&mut self) -> Result<bool, Stopped>;

    /// Whether one of them is not through with its timed dispatches; whoever asks is
    /// through with its own.
    ///
    /// # Errors
    /// When nobody can say so.
    fn still_measure(&mut self) -> Result<bool, Stopped>;
}

/// No other adapter.
pub struct Nobody;

impl Others for Nobody {
    fn wait(&mut self) -> Result<bool, Stopped> {
        Ok(false)
    }

    fn still_measure(&mut self) -> Result<bool, Stopped> {
        Ok(false)
    }
}
