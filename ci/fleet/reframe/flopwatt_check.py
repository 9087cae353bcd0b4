"""A check for ReFrame 4: flopwatt's kernels are right, and as fast as they were.

Every rate that flopwatt reports becomes a performance variable by the name
CASE/METRIC, such as matmul/f32/best/4096x4096x4096/gflops, and lands in ReFrame's
performance logs. Those that REFERENCES has for the partition are judged.

    reframe -C settings.py -c flopwatt_check.py --system=cluster:gpu -r

The report itself is kept in ReFrame's output folder, as report/report.json.
"""

import os
import re
import shlex

import reframe as rfm
import reframe.utility.sanity as sn
import reframe.utility.typecheck as typ
from reframe.core.builtins import run_before, sanity_function, variable

# What a partition reaches: (value, lowest, highest, unit), the bounds as shares of
# the value. Run the check without references first: it prints what it finds.
REFERENCES = {
    # For trying this out: whatever that runs on reaches a tenth of these.
    'local:cpu': {
        'bandwidth/f32/copy/1MiB/gbytes_per_s': (1, -0.9, None, 'GB/s'),
        'matmul/f32/register/64x64x64/gflops': (1, -0.9, None, 'GFLOP/s'),
    },
    # 'cluster:gpu': {
    #     'matmul/f32/best/4096x4096x4096/gflops': (VALUE, -0.05, 0.05, 'GFLOP/s'),
    #     'matmul/f32/best/4096x4096x4096/gflops_per_watt': (VALUE, -0.1, 0.1, 'GFLOP/s/W'),
    # },
}

FIGURE = r'^fom (\S+) (gflops|gbytes_per_s|gflops_per_watt) (\S+) (\S+)$'


@rfm.simple_test
class FlopwattCheck(rfm.RunOnlyRegressionTest):
    descr = 'Verified kernels, timed on the device'
    valid_systems = ['*']
    valid_prog_environs = ['builtin']
    sourcesdir = None
    time_limit = '20m'
    executable = 'flopwatt'
    executable_opts = ['run', '--format', 'fom', '--out', 'report']
    keep_files = ['report']
    reference = REFERENCES

    #: The cases, as for `flopwatt run`; the headline list where there are none.
    cases = variable(typ.List[str], value=[])

    @run_before('run')
    def choose_adapter_and_cases(self):
        adapter = self.current_partition.extras.get('adapter')
        if adapter:
            self.executable_opts += ['--adapter', adapter]
        self.executable_opts += [shlex.quote(case) for case in self.cases]

    @sanity_function
    def is_valid_and_complete(self):
        """A case that fails is no figure, and neither is one that is not there:
        ReFrame itself passes over a variable that has no value."""
        references = REFERENCES.get(self.current_partition.fullname, {})
        figures = (re.escape(name).rpartition('/') for name in references)
        return sn.all([
            sn.assert_found(r'^status VALID$', self.stdout),
            *(sn.assert_found(f'^fom {case} {metric} ', self.stdout)
              for case, _, metric in figures),
        ])

    @run_before('performance')
    def take_figures(self):
        if self.is_dry_run():
            return
        output = os.path.join(self.stagedir, self.job.stdout)
        figures = sn.extractall(FIGURE, output, (1, 2, 3, 4), (str, str, float, str))
        for case, metric, value, unit in figures.evaluate():
            name = f'{case}/{metric}'
            self.perf_variables[name] = sn.make_performance_function(sn.defer(value), unit)
