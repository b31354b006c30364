"""Trials on other machines by SSH: results that come back, machines that vanish and return, and whom to trust there."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch

__all__ = ["REMOTE_PATCHES"]

_WORKER = "training_service/remote_v3/worker.js"
_REMOTE = "training_service/remote_v3/remote.js"
_SSH = "training_service/remote_v3/ssh.js"
_COMPAT = "training_service/v3/compat.js"
_RPC = "common/command_channel/rpc_util.js"

_REMOTE_START = Patch.of(
    name="remote_start",
    why="each machine runs `pip install nni --upgrade` from a public index, and a trial keeper open to its network",
    edits={
        _WORKER: {
            """        this.log.info('Installing nni and dependencies...');
        await this.ssh.run(`${this.python} -m pip install nni --upgrade`);
""": "",
            # The trial keeper of the machine's own repaired copy.
            "-m nni.tools.nni_manager_scripts.launch_trial_keeper": "-m nni_privacy.nni_runtime.trial_keeper",
        },
    },
)

_REMOTE_CODE = Patch.of(
    name="remote_code",
    why="a search on other machines that starts in an empty folder ends with the manager's death",
    edits={
        "common/tarball.js": {
            "await tar_1.default.create(opts, fileList);": """\
await tar_1.default.create(opts, fileList.length > 0 ? fileList : ['.']);""",
        },
    },
)

_REMOTE_SCORES = Patch.of(
    name="remote_scores",
    why="of a trial on another machine only its logs come back, not the scores and weights that it wrote",
    edits={
        # Each file when it is asked for: with all of them at every look at a log, weights would be copied each time.
        _COMPAT: {
            "await this.v3.downloadTrialDirectory(trialJobId);": (
                "await this.v3.downloadTrialDirectory(trialJobId, fileName);"
            ),
        },
        _REMOTE: {
            "    async downloadTrialDirectory(trialId) {": "    async downloadTrialDirectory(trialId, fileName) {",
            "await worker.downloadTrialLog(trialId);": "await worker.downloadTrialLog(trialId, fileName);",
        },
        _WORKER: {
            "    async downloadTrialLog(trialId) {": "    async downloadTrialLog(trialId, fileName) {",
            "['trial.log', 'trial.stdout', 'trial.stderr']": """\
['scores.npz', 'model.safetensors', 'exit.json'].includes(fileName)
            ? [fileName] : ['trial.log', 'trial.stdout', 'trial.stderr']""",
        },
    },
)

# As `ssh -o StrictHostKeyChecking=accept-new`: a machine that known_hosts names must show the key noted there, and one
# that it does not name must show the same key for the whole run. `ssh-keygen -F` reads hashed names, too.
_KNOWN_HOSTS = """const seenKeys = new Map();
function knownKeys(host, port) {
    const file = node_path_1.join(node_os_1.homedir(), '.ssh', 'known_hosts');
    const name = port === 22 ? host : `[${host}]:${port}`;
    return new Promise(resolve => {
        node_child_process_1.execFile('ssh-keygen', ['-F', name, '-f', file], (_error, stdout) => {
            const lines = (stdout ?? '').split('\\n').filter(line => line.trim() && !line.startsWith('#'));
            resolve(lines.filter(line => !line.startsWith('@')).map(line => line.trim().split(/\\s+/)[2]));
        });
    });
}
async function isTrusted(host, port, key, log) {
    const shown = key.toString('base64');
    const name = `${host}:${port}`;
    const known = await knownKeys(host, port);
    const allowed = known.length > 0 ? known : [seenKeys.get(name) ?? shown];
    if (!allowed.includes(shown)) {
        log.error(`${name} shows another key than the one that is known; refused: someone may be in between.`);
        return false;
    }
    if (known.length === 0 && !seenKeys.has(name)) {
        log.warning(`${name} is not in known_hosts; its key is trusted for this run.`);
    }
    seenKeys.set(name, shown);
    return true;
}
class Ssh {
"""

_REMOTE_HOST_KEY = Patch.of(
    name="remote_host_key",
    why="the key of an SSH server is not looked at: anyone in between may pose as the machine",
    edits={
        _SSH: {
            'const ssh2_1 = require("ssh2");\n': """const node_child_process_1 = require("node:child_process");
const node_os_1 = require("node:os");
const node_path_1 = require("node:path");
const ssh2_1 = require("ssh2");
""",
            "class Ssh {\n": _KNOWN_HOSTS,
            "            password: this.config.password,\n": """            password: this.config.password,
            hostVerifier: (key, verify) => {
                isTrusted(this.config.host, this.config.port, key, this.log).then(verify, () => { verify(false); });
            },
""",
        },
    },
)

_REMOTE_RECOVERY = Patch.of(
    name="remote_recovery",
    why="a machine that vanishes takes the run along: its SSH connection ends the manager, its answers are waited for",
    edits={
        _SSH: {
            # A connection that breaks is noticed, is no reason to die, and is made again when it is needed.
            """        this.client = new ssh2_1.Client();
        this.client.connect(sshConfig);
        await node_events_1.default.once(this.client, 'ready');
""": """        const client = new ssh2_1.Client();
        const lost = () => {
            if (this.client === client) {
                this.client = null;
                this.sftpSession = null;
            }
        };
        client.on('error', error => {
            this.log.warning('SSH connection:', error.message);
            lost();
        });
        client.on('close', lost);
        client.connect({ ...sshConfig, keepaliveInterval: 15000, keepaliveCountMax: 4 });
        await node_events_1.default.once(client, 'ready');
        this.client = client;
""",
            "    disconnect() {\n": """    async ensure() {
        for (let tries = 0; this.client === null; tries += 1) {
            try {
                this.connecting ??= this.connect().finally(() => { this.connecting = null; });
                await this.connecting;
            }
            catch (error) {
                if (tries >= 4) {
                    throw error;
                }
                await new Promise(resolve => { setTimeout(resolve, 1000 * 2 ** tries); });
            }
        }
    }
    disconnect() {
""",
            "        this.log.debug('Execute command:', command);\n": """\
        this.log.debug('Execute command:', command);
        await this.ensure();
""",
            "    async sftp() {\n": "    async sftp() {\n        await this.ensure();\n",
        },
        _RPC: {
            # A call to a machine that is gone fails, instead of waiting for its answer.
            "        this.channel.onCommand('rpc_constructor', command => {\n": """        const lost = reason => {
            this.lost = `connection lost: ${reason}`;
            this.responses.forEach(response => {
                if (!response.settled) {
                    response.resolve({ error: this.lost });
                }
            });
        };
        this.channel.onError(lost);
        this.channel.onClose(lost);
        this.channel.onCommand('rpc_constructor', command => {
""",
            "        const deferred = this.responses.get(id);\n": """        if (this.lost) {
            throw new Error(this.lost);
        }
        const deferred = this.responses.get(id);
""",
        },
        _REMOTE: {
            # A machine is tried again until it is back or the run is over, at the start too if another one is there.
            "        await Promise.all(this.config.machineList.map("
            "workerConfig => this.launchWorker(workerConfig)));\n": """        const machines = this.config.machineList;
        const launched = await Promise.allSettled(machines.map(machine => this.launchWorker(machine)));
        launched.forEach((result, i) => {
            if (result.status === 'rejected') {
                this.log.error(`Machine ${machines[i].host} failed:`, result.reason);
                this.relaunch(machines[i]);
            }
        });
        if (this.workers.length === 0) {
            this.stopped = true;
            throw launched[0].reason;
        }
""",
            "        return this.workers.map(worker => worker.env);\n": """\
        return this.workers.filter(worker => worker.ready).map(worker => worker.env);
""",
            "        const workers = Array.from(this.workers);\n": """\
        const workers = this.workers.filter(worker => worker.ready);
""",
            "    async stop() {\n": "    async stop() {\n        this.stopped = true;\n",
            "        await worker.start();\n        return worker;\n": """        try {
            await worker.start();
        }
        catch (error) {
            this.stopWorker(worker, false);
            worker.ssh.disconnect();
            throw error;
        }
        worker.ready = true;
        return worker;
""",
            "this.emitter.emit('env_update', this.workers.map(worker => worker.env));": """\
const ready = this.workers.filter(worker => worker.ready);
        this.emitter.emit('env_update', ready.map(worker => worker.env));""",
            """        this.stopWorker(oldWorker, true);
        try {
            const worker = await this.launchWorker(oldWorker.config);
            for (const dirName of this.uploadedDirs) {
                const tar = (0, tarball_1.getTarballPath)(dirName);
                await worker.upload(dirName, tar);
            }
        }
        catch (error) {
            this.log.error(`Failed to recover worker ${oldWorker.config.host}:`, error);
            return;
        }
        this.emitEnvUpdate();
        this.log.info(`Worker ${oldWorker.config.host} has been recovered`);
""": """        if (!oldWorker.ready) {
            // Whoever launches it tries again.
            oldWorker.trialKeeper.initialized.promise.catch(() => {});
            oldWorker.trialKeeper.initialized.reject(new Error('connection lost'));
            return;
        }
        this.stopWorker(oldWorker, true);
        oldWorker.ssh.disconnect();
        await this.relaunch(oldWorker.config);
    }
    async relaunch(config) {
        for (let wait = 1; !this.stopped; wait = Math.min(2 * wait, 60)) {
            await new Promise(resolve => { setTimeout(resolve, 1000 * wait).unref(); });
            let worker = null;
            try {
                worker = await this.launchWorker(config);
                worker.ready = false;
                for (const dirName of this.uploadedDirs) {
                    const tar = (0, tarball_1.getTarballPath)(dirName);
                    await worker.upload(dirName, tar);
                }
                worker.ready = true;
                this.emitEnvUpdate();
                this.log.info(`Worker ${config.host} has been recovered`);
                return;
            }
            catch (error) {
                this.log.error(`Failed to recover worker ${config.host}:`, error);
                if (worker !== null) {
                    this.stopWorker(worker, false);
                    worker.ssh.disconnect();
                }
            }
        }
""",
        },
        _WORKER: {
            "        this.trialKeeper.setChannel(channel);\n": """\
        this.trialKeeper.setChannel(channel).catch(error => {
            this.log.error('Trial keeper does not answer:', error);
        });
""",
        },
        _COMPAT: {
            # Trials that ended before their machine was lost keep their result.
            """            const trial = this.trialJobs[trialId];
            if (exitCode === 0) {
""": """            const trial = this.trialJobs[trialId];
            if (trial === undefined || trial.endTime !== undefined) {
                return;
            }
            if (exitCode === 0) {
""",
            "                logger.error('Exception when create trial', form, ':', error);\n": """\
                logger.error('Exception when create trial', form, ':', error);
                await (0, promises_2.setTimeout)(1000);
""",
            "'environments', env.id, 'trials', trialId);": "'environments', envId, 'trials', trialId);",
        },
    },
)

REMOTE_PATCHES = (_REMOTE_START, _REMOTE_CODE, _REMOTE_SCORES, _REMOTE_HOST_KEY, _REMOTE_RECOVERY)
