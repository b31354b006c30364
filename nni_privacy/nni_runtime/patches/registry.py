"""The faults of NNI 3.0's node package that nni-privacy repairs, each anchored on the exact text it replaces.

NNI is archived: no repair will come from upstream. The package is compiled JavaScript without a build step here, so a
repair is a replacement of text; :mod:`nni_privacy.nni_runtime.patches.apply` refuses where the text is not the expected
one.
"""

from __future__ import annotations

from collections.abc import Collection

from nni_privacy.errors import RuntimeRepairError, nearest
from nni_privacy.nni_runtime.patches.access import ACCESS_PATCHES, HOST_VARIABLE
from nni_privacy.nni_runtime.patches.apply import Patch, patched_texts
from nni_privacy.nni_runtime.patches.lifetime import LIFETIME_PATCHES
from nni_privacy.nni_runtime.patches.live import LIVE_PATCHES
from nni_privacy.nni_runtime.patches.remote import REMOTE_PATCHES
from nni_privacy.nni_runtime.patches.routes import ROUTE_PATCHES
from nni_privacy.nni_runtime.patches.web import WEB_PATCHES

__all__ = ["HOST_VARIABLE", "PATCHES", "Patch", "check_names", "patched_texts"]

_COMPAT = "training_service/v3/compat.js"
_REST = "rest_server/restHandler.js"
_TENSORBOARD = "extensions/nniTensorboardManager.js"

_PAIRING = Patch.of(
    name="pairing",
    why="parameters go to whichever trial asks first: metrics get the wrong architecture (microsoft/nni #5693, #5726)",
    edits={
        _COMPAT: {
            "    allocatedParameters = new Map();\n": """    allocatedParameters = new Map();
    unpairedTrials = new Set();
""",
            # The queue is left empty; a resumed trial and a new one are registered in the same place, below.
            """        if (trialId === null) {
            this.parameters.push(form.hyperParameters.value);
        }
        else {
            this.allocatedParameters.set(trialId, form.hyperParameters.value);
        }
        while (trialId === null) {
""": "        while (trialId === null) {\n",
            """        let trial;
        if (this.trialJobs[trialId] === undefined) {
""": """        this.allocatedParameters.set(trialId, form.hyperParameters.value);
        let trial;
        if (this.trialJobs[trialId] === undefined) {
""",
            # A quick trial may ask before createTrial() has returned its id, hence the wait. The parameters are kept
            # until the trial ends: one that asks twice gets its own again.
            """            if (this.allocatedParameters.has(trialId)) {
                await this.v3.sendParameter(trialId, this.allocatedParameters.get(trialId));
                this.allocatedParameters.delete(trialId);
            }
            else if (this.parameters.length > 0) {
                await this.v3.sendParameter(trialId, this.parameters.shift());
            }
            else {
                logger.error('No parameters available');
            }
""": """            try {
                for (let waited = 0; waited < 10000 && !this.allocatedParameters.has(trialId); waited += 50) {
                    await (0, promises_2.setTimeout)(50);
                }
                if (this.allocatedParameters.has(trialId)) {
                    await this.v3.sendParameter(trialId, this.allocatedParameters.get(trialId));
                    return;
                }
                logger.error(`Trial ${trialId} asks for parameters, but none were proposed for it: stopped as failed.`);
                this.unpairedTrials.add(trialId);
                await this.v3.stopTrial(trialId);
            }
            catch (error) {
                logger.error('Exception when sending parameters to trial', trialId, ':', error);
            }
""",
            "            else if (exitCode !== null) {\n": """\
            else if (exitCode !== null || this.unpairedTrials.has(trialId)) {
""",
            "            trial.endTime = timestamp;\n": """            trial.endTime = timestamp;
            this.allocatedParameters.delete(trialId);
""",
        },
    },
)

_LOOPBACK = Patch.of(
    name="loopback",
    why="the manager, which has no authentication, and its TensorBoard listen on all network interfaces",
    edits={
        "rest_server/index.js": {
            "this.server = app.listen(this.port);": "this.server = app.listen(this.port, '127.0.0.1');",
        },
        "rest_server/core.js": {
            # The trial keeper of the remote training service: only the trials beside it talk to it, as `localhost`.
            "this.server = app.listen(this.port);": "this.server = app.listen(this.port, '127.0.0.1');",
        },
        "common/restServer.js": {
            # What other training services than local and remote talk to, one port further: their agents know no token.
            "    hostName = '0.0.0.0';": f"    hostName = process.env.{HOST_VARIABLE} || '127.0.0.1';",
        },
        "training_service/reusable/channels/webCommandChannel.js": {
            "new ws_1.Server({ port });": f"""\
new ws_1.Server({{ port, host: process.env.{HOST_VARIABLE} || '127.0.0.1' }});""",
        },
        _TENSORBOARD: {"logdirCmd = '--bind_all --logdir_spec';": "logdirCmd = '--host 127.0.0.1 --logdir_spec';"},
    },
)

_TRAVERSAL = Patch.of(
    name="traversal",
    why="/api/v1/nni/trial-file reads any file of the machine through encoded slashes (..%2f..%2fetc%2fpasswd)",
    edits={
        _REST: {
            # At the door, for every training service: names that can leave a folder are refused.
            """            const filename = req.params['filename'];
            this.nniManager.getTrialFile(""": """            const filename = req.params['filename'];
            const illegal = filename.includes('\\\\') || filename.includes('\\0')
                || filename.split('/').some(part => part === '' || part === '.' || part === '..');
            if (illegal || !/^[\\w-]+$/.test(req.params['id'])) {
                res.status(404).send({ error: 'No such trial file.' });
                return;
            }
            this.nniManager.getTrialFile(""",
            # Errors that are not Boom's (a malformed percent sign is one) were swallowed here: requests hung for ever.
            """                return res.status(err.output.statusCode).json(err.output.payload);
            }
""": """                return res.status(err.output.statusCode).json(err.output.payload);
            }
            this.log.error(err);
            return res.status(err.status ?? 500).json({ error: err.message });
""",
        },
        _COMPAT: {
            """const factory_1 = require("./factory");
""": """const errors_1 = require("common/errors");
const factory_1 = require("./factory");
function noSuchFile() {
    return new errors_1.NNIError(errors_1.NNIErrorNames.NOT_FOUND, 'No such trial file.');
}
""",
            # An unknown trial was answered with 200 and an internal message.
            "            return `NNI internal error. Please check log file.\\n${error}`;\n": """\
            throw noSuchFile();
""",
            # At the disk: what the name stands for after all links are followed must lie in the trial's own folder.
            """            logPath = path_1.default.join(dir, 'trial.stdout');
        }
        if (logPath !== null) {
            return await (0, promises_1.readFile)(logPath, { encoding: 'utf8' });
        }
        else {
            return await (0, promises_1.readFile)(path_1.default.join(dir, fileName));
        }
""": """            logPath = path_1.default.join(dir, 'trial.stdout');
        }
        let file;
        try {
            const root = await (0, promises_1.realpath)(dir);
            file = await (0, promises_1.realpath)(logPath ?? path_1.default.join(dir, fileName));
            if (!file.startsWith(root + path_1.default.sep) || !(await (0, promises_1.stat)(file)).isFile()) {
                throw new Error('outside of the folder of the trial, or no file');
            }
        }
        catch (error) {
            logger.warning('Refused trial file', trialJobId, fileName, ':', error.message);
            throw noSuchFile();
        }
        const name = path_1.default.basename(file);
        const content = await (0, promises_1.readFile)(file, logPath !== null ? { encoding: 'utf8' } : {});
        // Trials log the address of their channel, and its key opens it.
        return /^trial\\.(log|stdout|stderr)$/.test(name)
            ? content.toString('utf8').replace(/([?&]key=)[0-9a-f]{64}/g, '$1...') : content;
""",
        },
        _TENSORBOARD: {
            # The ids become folders that are made, and words of a shell command.
            "            const trialTensorboardDataPath = path_1.default.join(": """\
            if (!/^[\\w-]+$/.test(trialJobId)) {
                throw new Error('No such trial.');
            }
            const trialTensorboardDataPath = path_1.default.join(""",
        },
    },
)

_NO_NETRON = Patch.of(
    name="no_netron",
    why="/netron is a proxy to a public web site, through the user's machine",
    edits={
        "rest_server/index.js": {
            "    router.use('/netron', netronProxy());\n": """    router.use('/netron', (_req, res) => {
        res.status(404).type('text/plain').send('Off: netron.app is a public web site.');
    });
""",
        },
    },
)

_ALL = (
    _PAIRING,
    _LOOPBACK,
    *ACCESS_PATCHES,
    *ROUTE_PATCHES,
    _TRAVERSAL,
    _NO_NETRON,
    *REMOTE_PATCHES,
    *LIFETIME_PATCHES,
    *LIVE_PATCHES,
    *WEB_PATCHES,
)

PATCHES: dict[str, Patch] = {patch.name: patch for patch in _ALL}


def check_names(names: Collection[str], *, known: Collection[str] = tuple(PATCHES)) -> None:
    """Refuses names that no patch (or repair) has, so that a misspelt one is not silently ignored."""
    for name in names:
        if name not in known:
            raise RuntimeRepairError(f"unknown repair {name!r}: {nearest(name, known)}")
