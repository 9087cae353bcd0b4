//! The Slurm task that a program runs in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A task of a job, by the variables that Slurm sets for it. Null is what it did not
/// set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlurmTask {
    /// `SLURM_JOB_ID`: the job, or one task of an array of jobs.
    pub job_id: u64,
    /// `SLURM_ARRAY_JOB_ID`: the array of jobs.
    pub array_job_id: Option<u64>,
    /// `SLURM_ARRAY_TASK_ID`: the job's number in the array.
    pub array_task_id: Option<u64>,
    /// `SLURM_PROCID`: the process of the job's step.
    pub process_id: Option<u64>,
    /// `SLURM_RESTART_COUNT`: how often the job had been put back into the queue;
    /// Slurm does not set it the first time, which is 0.
    pub restart_count: u64,
    /// `SLURMD_NODENAME`: the node.
    pub node: Option<String>,
    /// `SLURM_CLUSTER_NAME`: the cluster.
    pub cluster: Option<String>,
}

impl SlurmTask {
    /// The one that this program runs in; `None` outside of Slurm.
    pub fn this() -> Option<Self> {
        Self::seen(&|name| std::env::var(name).ok())
    }

    fn seen(environment: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| environment(name)?.parse().ok();
        let text = |name: &str| environment(name).filter(|value| !value.is_empty());
        Some(Self {
            job_id: number("SLURM_JOB_ID")?,
            array_job_id: number("SLURM_ARRAY_JOB_ID"),
            array_task_id: number("SLURM_ARRAY_TASK_ID"),
            process_id: number("SLURM_PROCID"),
            restart_count: number("SLURM_RESTART_COUNT").unwrap_or(0),
            node: text("SLURMD_NODENAME"),
            cluster: text("SLURM_CLUSTER_NAME"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(variables: &[(&str, &str)]) -> Option<SlurmTask> {
        SlurmTask::seen(&|name| {
            let mut set = variables.iter().filter(|(set, _)| *set == name);
            set.next().map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_task_of_an_array_is_known_by_its_variables() {
        let variables = [
            ("SLURM_JOB_ID", "1235"),
            ("SLURM_ARRAY_JOB_ID", "1234"),
            ("SLURM_ARRAY_TASK_ID", "1"),
            ("SLURM_PROCID", "0"),
            ("SLURM_RESTART_COUNT", "2"),
            ("SLURMD_NODENAME", "node07"),
            ("SLURM_CLUSTER_NAME", "hall"),
        ];
        let task = SlurmTask {
            job_id: 1235,
            array_job_id: Some(1234),
            array_task_id: Some(1),
            process_id: Some(0),
            restart_count: 2,
            node: Some("node07".into()),
            cluster: Some("hall".into()),
        };
        assert_eq!(seen(&variables), Some(task.clone()));
        let first = SlurmTask {
            restart_count: 0,
            array_task_id: None,
            ..task
        };
        let without = [&variables[..2], &variables[3..4], &variables[5..]].concat();
        assert_eq!(seen(&without), Some(first));
    }

    #[test]
    fn outside_of_slurm_there_is_none() {
        assert_eq!(seen(&[]), None);
        assert_eq!(seen(&[("SLURM_CLUSTER_NAME", "hall")]), None);
        assert_eq!(seen(&[("SLURM_JOB_ID", "x")]), None);
    }
}
