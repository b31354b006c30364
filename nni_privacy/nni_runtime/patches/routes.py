"""Patches of the manager's routes, which accept nothing that a search does not need or that could run code."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch

__all__ = ["ROUTE_PATCHES"]

_HANDLER = "rest_server/restHandler.js"
_MANAGER = "core/nnimanager.js"
_KEEPER = "common/trial_keeper/keeper.js"

# NNI's Python side makes objects of mappings with these keys: it imports what they name, or unpickles what they hold.
_MARKS = "['__nni_obj__', '__nni_type__', '__symbol__', '__instance_type__', '__enum__', '__ndarray__']"

_ROUTES = Patch.of(
    name="routes",
    why="the manager passes on whatever it is sent, to be unpickled, and starts a second experiment over a running one",
    edits={
        _HANDLER: {
            "class NNIRestHandler {\n": f"""const objectMarks = {_MARKS};
function holdsObject(value) {{
    if (value === null || typeof value !== 'object') {{
        return false;
    }}
    return objectMarks.some(mark => Object.hasOwn(value, mark)) || Object.values(value).some(holdsObject);
}}
function isCount(value, least) {{
    return Number.isSafeInteger(value) && value >= least;
}}
// Why a change of the experiment is refused; null if it is not.
function wrongUpdate(body, kind) {{
    const given = body?.params;
    const checks = {{
        TRIAL_CONCURRENCY: () => isCount(given.trialConcurrency, 1),
        MAX_TRIAL_NUM: () => isCount(given.maxTrialNumber, 0),
        MAX_EXEC_DURATION: () => /^\\d+(\\.\\d+)?[smhd]?$/.test(String(given.maxExperimentDuration)),
        SEARCH_SPACE: () => given.searchSpace !== null && typeof given.searchSpace === 'object',
    }};
    if (!Object.hasOwn(checks, kind ?? '')) {{
        return `update_type is ${{kind}}; allowed are ${{Object.keys(checks).join(', ')}}`;
    }}
    if (given === null || typeof given !== 'object' || !checks[kind]()) {{
        return `${{kind}}: the value is not valid`;
    }}
    return holdsObject(given.searchSpace) ? 'searchSpace: only plain data is accepted' : null;
}}
function searchesArchitectures() {{
    return Boolean(globals_1.default.args.tunerCommandChannel);
}}
class NNIRestHandler {{
    started = false;
    spaceIsKnown = false;
    refuse(res, status, error) {{
        this.log.warning('Refused:', error);
        res.status(status).send({{ error }});
    }}
""",
            "        router.post('/experiment', (req, res) => {\n": """\
        router.post('/experiment', (req, res) => {
            if (this.started) {
                this.refuse(res, 409, 'The experiment runs already.');
                return;
            }
            this.started = true;
""",
            "        router.put('/experiment', (req, res) => {\n": """        router.put('/experiment', (req, res) => {
            const wrong = wrongUpdate(req.body, req.query['update_type']);
            if (wrong !== null) {
                this.refuse(res, 400, wrong);
                return;
            }
            if (req.query['update_type'] === 'SEARCH_SPACE' && searchesArchitectures()) {
                if (this.spaceIsKnown) {
                    this.refuse(res, 409, 'The space of a search for architectures is its strategy\\'s own.');
                    return;
                }
                this.spaceIsKnown = true;
            }
""",
            "        router.put('/experiment/cluster-metadata', async (req, res) => {\n": """\
        router.put('/experiment/cluster-metadata', async (req, res) => {
            if (this.started) {
                this.refuse(res, 409, 'The experiment runs already.');
                return;
            }
""",
            **{
                anchor: anchor
                + f"""            if (searchesArchitectures()) {{
                this.refuse(res, 409, 'A search for architectures takes no {what}.');
                return;
            }}
            if (holdsObject(req.body)) {{
                this.refuse(res, 400, 'Only plain data is accepted.');
                return;
            }}
"""
                for what, anchor in {
                    "customized trials": "        router.post('/trial-jobs', async (req, res) => {\n",
                    "imported data": "        router.post('/experiment/import-data', (req, res) => {\n",
                }.items()
            },
            # Before an experiment runs, this threw inside an asynchronous handler, which ends node.
            "            this.nniManager.addCustomizedTrialJob(JSON.stringify(req.body)).then(": (
                "            Promise.resolve().then("
                "() => this.nniManager.addCustomizedTrialJob(JSON.stringify(req.body))).then("
            ),
        },
        _MANAGER: {
            # A trial speaks of itself only, and what it says wrongly costs its own result, not the experiment.
            "        this.log.debug('NNIManager received trial job metrics:', metric);\n": """\
        this.log.debug('NNIManager received trial job metrics:', metric);
        if (this.refusesMetric(metric)) {
            this.log.warning('Refused what trial', metric.id, 'said to be a metric of its own.');
            return;
        }
""",
            "    async onTrialJobMetrics(metric) {\n": """    refusesMetric(metric) {
        let said = null, own = undefined;
        try {
            said = JSON.parse(metric.data);
            own = JSON.parse(this.trialJobs.get(metric.id).form.hyperParameters.value).parameter_id;
        }
        catch (error) {
            this.log.debug(error);
        }
        if (said === null || typeof said !== 'object' || own === undefined) {
            return this.trialJobs.has(metric.id);
        }
        const { parameter_id, trial_job_id, type, sequence, value } = said;
        if (trial_job_id !== metric.id || parameter_id !== own || typeof sequence !== 'number'
            || typeof value !== 'string' || !['FINAL', 'PERIODICAL'].includes(type)) {
            return true;
        }
        metric.data = JSON.stringify({ parameter_id, trial_job_id, type, sequence, value });
        return false;
    }
    async onTrialJobMetrics(metric) {
""",
        },
        _KEEPER: {
            "            this.emitter.emit('command', trialId, command);\n": """\
            if (typeof command?.type !== 'string'
                || (command.type === 'metric' && typeof command.metric !== 'string')) {
                this.log.warning('Refused a malformed command from trial', trialId);
                return;
            }
            this.emitter.emit('command', trialId, command);
""",
        },
    },
)

_TUNER = Patch.of(
    name="careful_tuner",
    why="a tuner of hyper-parameters unpickles whatever trials report, and whatever is imported",
    edits={
        "common/utils.js": {
            "    return [globals_1.default.args.pythonInterpreter, '-m', 'nni', '--exp_params',": (
                "    return [globals_1.default.args.pythonInterpreter, '-m', "
                "'nni_privacy.nni_runtime.tuner_entry', '--exp_params',"
            ),
        },
    },
)

_NO_PROXY = Patch.of(
    name="trials_without_proxy",
    why="where the environment names a proxy, trials look for the manager behind it",
    edits={
        "common/trial_keeper/process.js": {
            "        env['NNI_CODE_DIR'] = opts.codeDirectory;\n": """\
        const given = env['no_proxy'] ?? env['NO_PROXY'];
        const direct = [given, 'localhost', '127.0.0.1'].filter(Boolean).join();
        env['no_proxy'] = env['NO_PROXY'] = direct;
        env['NNI_CODE_DIR'] = opts.codeDirectory;
""",
        },
    },
)

ROUTE_PATCHES = (_ROUTES, _TUNER, _NO_PROXY)
