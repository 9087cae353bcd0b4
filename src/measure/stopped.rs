//! Cases that end without figures, and why.

use std::fmt::Display;

use super::measurement::{Measurement, Reason, ReasonCode, Status, Verification};
use crate::gpu::device::GpuError;
use crate::kernel::BuildError;
use crate::kernel::capabilities::Unfit;
use crate::kernel::id::CaseId;
use crate::kernel::problem::Verdict;
use crate::power::PowerError;

/// A case that ends without figures.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {}", .reason.message)]
pub struct Stopped {
    status: Status,
    reason: Reason,
    verdict: Option<Verdict>,
    device_is_suspect: bool,
    device_is_gone: bool,
}

impl Stopped {
    pub(super) fn new(status: Status, reason: Reason) -> Self {
        Self {
            status,
            reason,
            verdict: None,
            device_is_suspect: false,
            device_is_gone: false,
        }
    }

    /// An output did not pass; the case is skipped where none could have.
    pub(super) fn rejected(code: ReasonCode, message: impl Display, verdict: &Verdict) -> Self {
        let status = if code.is_rejection() {
            Status::Rejected
        } else {
            Status::Skipped
        };
        Self {
            verdict: Some(verdict.clone()),
            ..Self::new(status, Reason::new(code, message))
        }
    }

    /// Whoever leads the measuring process is not to be understood.
    pub fn misled(why: impl Display) -> Self {
        Self::new(Status::Failed, Reason::new(ReasonCode::Worker, why))
    }

    /// The source of power says that the device is gone, and knows better than
    /// the driver.
    pub(super) fn device_gone(error: PowerError) -> Self {
        Self {
            device_is_gone: true,
            ..Self::new(Status::Failed, Reason::new(ReasonCode::Device, error))
        }
    }

    /// Whether there is no device left for further cases.
    pub fn ends_the_run(&self) -> bool {
        self.device_is_gone
    }

    /// The record of case `id` that ended this way.
    pub fn measurement(self, id: &CaseId) -> Measurement {
        let mut measurement = Measurement::without_figures(id, self.status, self.reason);
        if let Some(verdict) = &self.verdict {
            measurement.verification = Verification::from(verdict);
        }
        measurement
    }

    /// The same, where the device has since shown that it is not to blame.
    pub(super) fn of_the_program(self) -> Self {
        Self {
            device_is_suspect: false,
            ..self
        }
    }

    /// Why there are no figures.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Whether the device cannot be trusted with further cases.
    pub fn wants_fresh_device(&self) -> bool {
        self.device_is_suspect
    }
}

/// A driver that does not do the work is not a failure to be retried: its output
/// is wrong.
impl From<GpuError> for Stopped {
    fn from(error: GpuError) -> Self {
        let (status, code) = match error {
            GpuError::Undone => (Status::Rejected, ReasonCode::NotComputed),
            GpuError::Dropped(_) => (Status::Rejected, ReasonCode::DispatchesDropped),
            _ => (Status::Failed, ReasonCode::Device),
        };
        Self {
            device_is_suspect: true,
            ..Self::new(status, Reason::new(code, error))
        }
    }
}

impl From<BuildError> for Stopped {
    fn from(error: BuildError) -> Self {
        let (status, code) = match &error {
            BuildError::Unfit(Unfit::Shape(_)) => (Status::Skipped, ReasonCode::UnsupportedShape),
            BuildError::Unfit(Unfit::Feature(_)) => (Status::Skipped, ReasonCode::MissingFeature),
            BuildError::Unfit(_) => (Status::Skipped, ReasonCode::TooLarge),
            BuildError::Template(_) => (Status::Failed, ReasonCode::Template),
        };
        Self::new(status, Reason::new(code, error))
    }
}
