"""A hyper-parameter trial that reports plain numbers; or what a hostile one would: a name of a metric that is HTML."""

import os

import nni

x = nni.get_next_parameter()["x"]
for epoch in range(3):
    nni.report_intermediate_result(x / 3_000_000 * (epoch + 1))
if "TEST_HOSTILE" in os.environ:
    nni.report_final_result({"default": x / 1_000_000, os.environ["TEST_HOSTILE"]: 0.123456789})
else:
    nni.report_final_result(x / 1_000_000)
