"""Systems for flopwatt_check.py: a cluster with GPUs, to be adjusted, and the Slurm
that ci/fleet/slurm/local-cluster starts."""

# This job's own GPU. Vulkan lists every GPU of a node on which Slurm does not hide
# those of other jobs, so it goes by its PCI address; the job's shell fills it in.
OWN_NVIDIA_GPU = (
    '"$(nvidia-smi --id="$CUDA_VISIBLE_DEVICES" --query-gpu=pci.bus_id --format=csv,noheader)"'
)

site_configuration = {
    'systems': [
        {
            'name': 'cluster',
            'descr': 'NVIDIA GPUs under Slurm',
            'hostnames': ['login'],
            'partitions': [
                {
                    'name': 'gpu',
                    'scheduler': 'slurm',
                    'launcher': 'local',
                    'access': ['--partition=gpu', '--gres=gpu:1', '--cpus-per-task=4'],
                    'environs': ['builtin'],
                    'extras': {'adapter': OWN_NVIDIA_GPU},
                    'max_jobs': 8,
                },
            ],
        },
        {
            'name': 'local',
            'descr': 'the Slurm of ci/fleet/slurm/local-cluster',
            'hostnames': ['.*'],
            'partitions': [
                {
                    'name': 'cpu',
                    # There is no accounting, which `slurm` would ask.
                    'scheduler': 'squeue',
                    'launcher': 'local',
                    'access': ['--partition=cpu'],
                    'environs': ['builtin'],
                    'extras': {'adapter': 'cpu'},
                    # Its jobs share one software adapter.
                    'max_jobs': 1,
                },
            ],
        },
    ],
}
