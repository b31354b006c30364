"""Patches of how processes of NNI end, and what is told of it."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch

__all__ = ["EXIT_FILE", "LIFETIME_PATCHES", "PARENT_VARIABLE"]

PARENT_VARIABLE = "NNI_PRIVACY_PARENT"
"""Read by the manager when it starts: the id of the process that it is to end with."""

EXIT_FILE = "exit.json"
"""Written to a trial's folder when it ends: its exit code, the signal that killed it, whether NNI was to stop it."""

_END_WITH_PARENT = Patch.of(
    name="end_with_parent",
    why="the manager and its trials live on when the Python process that searches is killed",
    edits={
        "main.js": {
            "start().then(() => {\n    logger.debug('start() returned.');\n": f"""\
const parentPid = Number(process.env.{PARENT_VARIABLE} ?? 0);
delete process.env.{PARENT_VARIABLE};
if (parentPid) {{
    const watch = setInterval(() => {{
        if (process.ppid !== parentPid) {{
            clearInterval(watch);
            logger.error(`Process ${{parentPid}}, which started the manager, has ended.`);
            globals_1.globals.shutdown.initiate('The searching process has ended');
        }}
    }}, 1000);
    watch.unref();
}}
start().then(() => {{
    logger.debug('start() returned.');
""",
        },
    },
)

_PATIENT_TUNER = Patch.of(
    name="patient_tuner",
    why="a tuner that needs more than ten seconds to start, as on a busy machine, ends the experiment for good",
    edits={
        "core/tuner_command_channel.js": {
            "const msg = 'Tuner did not connect in 10 seconds.": "const msg = 'Tuner did not connect in 2 minutes.",
            "            }, 10000);\n            return this.connect.promise;\n": """\
            }, 120000);
            return this.connect.promise;
""",
        },
    },
)

_EXIT_STATUS = Patch.of(
    name="exit_status",
    why="a trial that was killed (by the system, out of memory) looks like one that a user cancelled",
    edits={
        "common/trial_keeper/process.js": {
            "        if (process.platform === 'win32') {\n            this.proc.kill();\n": """\
        this.asked = true;
        if (process.platform === 'win32') {
            this.proc.kill();
""",
        },
        "common/trial_keeper/keeper.js": {
            # Before the end is told of: whoever hears of it finds the file.
            "        trial.onStop((timestamp, exitCode, _signal) => {\n": f"""\
        trial.onStop((timestamp, exitCode, signal) => {{
            try {{
                const status = {{ code: exitCode, signal, asked: Boolean(trial.asked) }};
                require("fs").writeFileSync(path_1.default.join(outputDir, '{EXIT_FILE}'), JSON.stringify(status));
            }}
            catch (error) {{
                this.log.error('Cannot write how trial', trialId, 'ended:', error);
            }}
""",
        },
    },
)

_PROMPT = Patch.of(
    name="prompt_trials",
    why="between two trials the manager sleeps half a second, twice: longer than a short training takes",
    edits={
        "core/nnimanager.js": {
            """                    }
                }
            }
            await (0, utils_1.delay)(1000 * this.pollInterval);
""": """                    }
                }
            }
            await (0, utils_1.delay)(this.pollInterval < 1 ? 50 : 1000 * this.pollInterval);
""",
        },
    },
)

_EARLY_STOPPED = Patch.of(
    name="early_stopped",
    why="a trial that is stopped early has ended, as cancelled by a user, before it is marked",
    edits={
        "training_service/v3/compat.js": {
            "    async cancelTrialJob(trialJobId, isEarlyStopped) {\n": """\
    async cancelTrialJob(trialJobId, isEarlyStopped) {
        if (this.trialJobs[trialJobId] !== undefined) {
            this.trialJobs[trialJobId].isEarlyStopped = Boolean(isEarlyStopped);
        }
""",
        },
    },
)

LIFETIME_PATCHES = (_END_WITH_PARENT, _PATIENT_TUNER, _EXIT_STATUS, _PROMPT, _EARLY_STOPPED)
