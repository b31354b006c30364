"""Access patches of NNI's manager, a server that asks nobody who they are.

Every request and every websocket is checked for Host (DNS rebinding) and Origin (a web page that drives the manager
from the user's browser), and each must carry a token: in a header, in the cookie that the address with the token sets,
or, of NNI's own channels (trials, trial keepers, the strategy), as a key in the address that opens this one channel
only: HMAC-SHA256 of its path under the token. Where the user wants no token, the web UI and the routes that it uses are
open; the channels, and what decides which command trials are started with, are not.
"""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch

__all__ = ["ACCESS_PATCHES", "HOST_VARIABLE", "OPEN_VARIABLE", "TOKEN_HEADER", "TOKEN_VARIABLE"]

# Read by the manager when it starts: an address of this machine to listen on besides 127.0.0.1, the token that every
# request must carry, and whether the web UI is open without it. The manager forgets the token's variable at once, so
# that trials do not inherit it.
HOST_VARIABLE = "NNI_PRIVACY_HOST"
OPEN_VARIABLE = "NNI_PRIVACY_NO_TOKEN"
TOKEN_VARIABLE = "NNI_PRIVACY_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_HEADER = "X-NNI-Privacy-Token"  # noqa: S105 - the name of a header

_REST = "common/globals/rest.js"
_INDEX = "rest_server/index.js"

# Host names are compared without their port: a browser cannot lie about it, and `ssh -L 9000:localhost:8080` is usual.
_GUARD = f"""const node_crypto_1 = require("node:crypto");
const openHost = (process.env.{HOST_VARIABLE} ?? '').toLowerCase();
const token = process.env.{TOKEN_VARIABLE} ?? '';
const pageIsOpen = !openHost && process.env.{OPEN_VARIABLE} === '1';
delete process.env.{TOKEN_VARIABLE};
if (openHost && !token) {{
    throw new Error('{HOST_VARIABLE} opens the manager to a network; {TOKEN_VARIABLE} must be set, too');
}}
const ownNames = new Set(['127.0.0.1', 'localhost', '[::1]']);
if (openHost) {{
    ownNames.add(openHost.includes(':') ? `[${{openHost}}]` : openHost);
}}
function same(given, expected) {{
    const digest = text => node_crypto_1.createHash('sha256').update(text).digest();
    return node_crypto_1.timingSafeEqual(digest(given), digest(expected));
}}
function channelKey(path) {{
    return node_crypto_1.createHmac('sha256', token).update(path).digest('hex');
}}
function cookieName() {{
    return `nni_privacy_token_${{global.nni.args.port}}`;
}}
function addressOf(request) {{
    // Never parsed as another server's: '//name/path' would be one.
    return new URL('http://manager/' + request.url.replace(/^[\\/\\\\]+/, ''));
}}
function isMalformed(request) {{
    // The path is looked at here as a browser's library reads it, and by express as it stands: both must agree.
    const path = request.url.split(/[?#]/)[0];
    return !path.startsWith('/') || path.includes('\\\\') || path !== new URL('http://manager' + path).pathname;
}}
function isForeign(request) {{
    const host = (request.headers.host ?? '').toLowerCase();
    const origin = request.headers.origin;
    return !ownNames.has(host.replace(/:\\d+$/, ''))
        || (origin !== undefined && origin.toLowerCase() !== 'http://' + host);
}}
function carriesToken(request) {{
    const bearer = /^Bearer (\\S+)$/i.exec(request.headers.authorization ?? '');
    const cookies = (request.headers.cookie ?? '').split(';').map(cookie => cookie.trim());
    const cookie = cookies.find(cookie => cookie.startsWith(cookieName() + '='));
    const given = [bearer?.[1], request.headers['{TOKEN_HEADER.lower()}'], cookie?.slice(cookieName().length + 1)];
    if (given.some(text => typeof text === 'string' && same(text, token))) {{
        return true;
    }}
    const address = addressOf(request);
    return same(address.searchParams.get('key') ?? '', channelKey(address.pathname));
}}
const pageWrites = {{
    PUT: /^\\/api\\/v1\\/nni\\/(experiment|tensorboard\\/[\\w-]+)$/,
    POST: /^\\/api\\/v1\\/nni\\/(trial-jobs|experiment\\/import-data|tensorboard)$/,
    DELETE: /^\\/api\\/v1\\/nni\\/(experiment|trial-jobs\\/[\\w-]+|tensorboard\\/[\\w-]+|tensorboard-tasks)$/,
}};
function isForAll(request) {{
    // The channels, and what decides on the command of trials, are the searching process's and its trials' alone.
    const prefix = global.nni.args.urlPrefix;
    const path = addressOf(request).pathname.slice(prefix ? prefix.length + 1 : 0).toLowerCase();
    const reads = request.method === 'GET' && !/^\\/*(env|tuner|platform)(\\/|$)/.test(path);
    return pageIsOpen && request.headers.upgrade === undefined && (reads || pageWrites[request.method]?.test(path));
}}
function refusal(request) {{
    try {{
        if (isMalformed(request)) {{
            return [400, 'Refused: malformed request.'];
        }}
        if (isForeign(request)) {{
            return [403, 'Refused: the Host or Origin of this request is not the manager.'];
        }}
        if (token && !carriesToken(request) && !isForAll(request)) {{
            return [401, 'Refused: this manager wants a token. Open the address that was printed when it started.'];
        }}
    }}
    catch (error) {{
        return [400, 'Refused: malformed request.'];
    }}
    return null;
}}
function acceptsToken(request, response) {{
    if (!token || request.method !== 'GET' || isMalformed(request) || isForeign(request)) {{
        return false;
    }}
    const address = addressOf(request);
    if (!same(address.searchParams.get('token') ?? '', token)) {{
        return false;
    }}
    // The page goes on without the token in its address: histories and logs do not keep it.
    address.searchParams.delete('token');
    response.setHeader('Set-Cookie', `${{cookieName()}}=${{token}}; HttpOnly; SameSite=Strict; Path=/`);
    response.setHeader('Location', address.pathname + address.search);
    response.status(303).end();
    return true;
}}
function guard(request, response, next) {{
    response.setHeader('X-Frame-Options', 'DENY');
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    response.setHeader('Referrer-Policy', 'no-referrer');
    // A websocket was checked before its handshake.
    const refused = request.ws ? null : refusal(request);
    if (refused === null || refused[0] === 401 && acceptsToken(request, response)) {{
        return refused === null ? next() : undefined;
    }}
    response.status(refused[0]).type('text/plain').send(refused[1]);
}}
function verifyClient(info, done) {{
    const refused = refusal(info.req);
    done(refused === null, refused?.[0], refused?.[1]);
}}
class RestManager {{
"""

_ACCESS = Patch.of(
    name="access",
    why="nobody is asked who they are: a web page that is open in a browser, or anyone on the network, can drive it",
    edits={
        _REST: {
            "class RestManager {\n": _GUARD,
            "{ wsOptions: { maxPayload: 4 * 1024 * 1024 * 1024 } });\n": """\
{ wsOptions: { maxPayload: 4 * 1024 * 1024 * 1024, verifyClient } });
        this.app.disable('x-powered-by');
        this.app.use(guard);
""",
            "        return root + this.urlJoin(global.nni.args.urlPrefix, ...parts);\n": """\
        const path = this.urlJoin(global.nni.args.urlPrefix, ...parts);
        // `localhost` may mean ::1, too, where another user can listen and be told the key.
        const here = root.replace('://localhost:', '://127.0.0.1:');
        return here + path + (token ? `?key=${channelKey('/' + path)}` : '');
""",
        },
        "core/nnimanager.js": {
            # A tuner that the manager starts gets the key of its channel, as trials do.
            "NNI_TUNER_COMMAND_CHANNEL: tunerWs,": """\
NNI_TUNER_COMMAND_CHANNEL: globals_1.default.rest.getFullUrl('ws', 'localhost', 'tuner'),""",
        },
        _INDEX: {
            # A second listener for the network: what runs on this machine goes on talking to 127.0.0.1.
            "        this.server.on('listening', () => {\n": f"""        if (process.env.{HOST_VARIABLE}) {{
            this.opened = (0, node_http_1.createServer)();
            this.opened.on('request', (req, res) => {{ this.server.emit('request', req, res); }});
            this.opened.on('upgrade', (...args) => {{ this.server.emit('upgrade', ...args); }});
            this.opened.on('error', error => {{ globals_1.default.shutdown.criticalError('RestServer', error); }});
            this.opened.listen(this.port, process.env.{HOST_VARIABLE});
        }}
        this.server.on('listening', () => {{
""",
            "        logger.info('Stopping REST server.');\n": """        logger.info('Stopping REST server.');
        this.opened?.close();
        this.opened?.closeAllConnections();
""",
            'const path_1 = __importDefault(require("path"));\n': """const node_http_1 = require("node:http");
const path_1 = __importDefault(require("path"));
""",
        },
    },
)

ACCESS_PATCHES = (_ACCESS,)
