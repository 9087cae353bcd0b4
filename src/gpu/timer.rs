//! Device timestamps around a compute pass, and how many invocations it counts in it.

use crate::units::Seconds;

/// Two timestamps for each of some passes, and the buffers through which they are
/// read.
pub struct Timer {
    queries: wgpu::QuerySet,
    /// Where the device counts.
    counters: Option<wgpu::QuerySet>,
    /// Where the counts begin, behind the ticks.
    counts_at: u64,
    resolved: wgpu::Buffer,
    /// Holds the raw ticks and counts once they are resolved and the submission has
    /// ended.
    pub(super) readback: wgpu::Buffer,
    period_s: f64,
}

/// What the device wrote at the beginning and the end of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceSpan {
    begin: u64,
    end: u64,
    period_s: f64,
}

/// Why two timestamps give no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    /// A slot that nobody wrote reads 0.
    #[error("a timestamp was not written")]
    Unwritten,
    /// The end is not after the beginning.
    #[error("the timestamps do not advance")]
    NotAdvancing,
}

impl DeviceSpan {
    /// A span of raw ticks of `period_s` each.
    pub fn new(begin: u64, end: u64, period_s: f64) -> Self {
        Self {
            begin,
            end,
            period_s,
        }
    }

    /// The time between the two.
    ///
    /// # Errors
    /// Where a timestamp is missing or time does not advance (stuck, backwards
    /// or wrapped).
    pub fn duration(&self) -> Result<Seconds, BadSpan> {
        if self.begin == 0 || self.end == 0 {
            return Err(BadSpan::Unwritten);
        }
        match self.end.checked_sub(self.begin) {
            None | Some(0) => Err(BadSpan::NotAdvancing),
            Some(ticks) => Ok(Seconds(ticks as f64 * self.period_s)),
        }
    }
}

impl Timer {
    /// Bytes of the timestamps of a pass.
    const PASS: u64 = 2 * wgpu::QUERY_SIZE as u64;
    /// Bytes of the count of a pass.
    const COUNT: u64 = wgpu::QUERY_SIZE as u64;
    /// Passes that the largest timer holds.
    pub(super) const MOST: u32 = wgpu::QUERY_SET_MAX_QUERIES / 2;

    /// A timer of `passes` passes on `device`, or `None` where it has no
    /// timestamps.
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue, passes: u32) -> Option<Self> {
        let period_s = f64::from(queue.get_timestamp_period()) * 1e-9;
        let offered = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if !offered || period_s <= 0.0 {
            return None;
        }
        let ticks = u64::from(passes) * Self::PASS;
        let counts_at = ticks.next_multiple_of(wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT);
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: counts_at + u64::from(passes) * Self::COUNT,
                usage: usage | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let statistics = wgpu::Features::PIPELINE_STATISTICS_QUERY;
        let counters = device.features().contains(statistics).then(|| {
            let invocations = wgpu::PipelineStatisticsTypes::COMPUTE_SHADER_INVOCATIONS;
            device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("invocations"),
                ty: wgpu::QueryType::PipelineStatistics(invocations),
                count: passes,
            })
        });
        Some(Self {
            counters,
            counts_at,
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * passes,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readback: buffer(wgpu::BufferUsages::MAP_READ),
            period_s,
        })
    }

    /// Timestamps at the beginning and the end of pass number `pass`.
    pub(super) fn pass_writes(&self, pass: u32) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(2 * pass),
            end_of_pass_write_index: Some(2 * pass + 1),
        }
    }

    /// Has the device count what `record` records of pass number `pass`.
    pub(super) fn count(
        &self,
        recorder: &mut wgpu::ComputePass,
        pass: u32,
        record: impl FnOnce(&mut wgpu::ComputePass),
    ) {
        let Some(counters) = &self.counters else {
            return record(recorder);
        };
        recorder.begin_pipeline_statistics_query(counters, pass);
        record(recorder);
        recorder.end_pipeline_statistics_query();
    }

    /// Records the way of the first `passes` passes' queries to the readback
    /// buffer.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder, passes: u32) {
        encoder.resolve_query_set(&self.queries, 0..2 * passes, &self.resolved, 0);
        if let Some(counters) = &self.counters {
            encoder.resolve_query_set(counters, 0..passes, &self.resolved, self.counts_at);
        }
        let size = self.resolved.size();
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readback, 0, size);
    }

    /// Reads the ticks of pass number `pass` from the readback buffer's contents.
    pub(super) fn span(&self, bytes: &[u8], pass: u32) -> DeviceSpan {
        let at = u64::from(pass) * Self::PASS;
        let tick = |at| number(bytes, at).unwrap_or(0);
        DeviceSpan::new(tick(at), tick(at + 8), self.period_s)
    }

    /// Invocations of shaders that the device counted in pass number `pass`.
    pub(super) fn invocations(&self, bytes: &[u8], pass: u32) -> Option<u64> {
        self.counters.as_ref()?;
        number(bytes, self.counts_at + u64::from(pass) * Self::COUNT)
    }
}

fn number(bytes: &[u8], at: u64) -> Option<u64> {
    let at = at as usize;
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_written_advancing_timestamps_give_a_duration() {
        let span = |begin, end| DeviceSpan::new(begin, end, 1e-9).duration();
        assert_eq!(span(5, 1_000_000_005), Ok(Seconds(1.0)));
        assert_eq!(span(0, 7), Err(BadSpan::Unwritten));
        assert_eq!(span(7, 0), Err(BadSpan::Unwritten));
        assert_eq!(span(7, 7), Err(BadSpan::NotAdvancing));
        assert_eq!(span(u64::MAX, 3), Err(BadSpan::NotAdvancing));
    }
}
