"""The live page beside NNI's own: the manager passes requests for ``/privacy`` on to the process that searches."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch

__all__ = ["LIVE_PATCHES", "LIVE_VARIABLE"]

LIVE_VARIABLE = "NNI_PRIVACY_LIVE"
"""Read by the manager when it starts: the Unix socket at which the searching process serves the page."""

# The guard in front of all routes has looked at Host, Origin and token. Of what a browser sends, only what a file's
# answer depends on goes on: neither the token nor a cookie leaves the manager.
_ROUTER = f"""const liveSocket = process.env.{LIVE_VARIABLE} ?? '';
delete process.env.{LIVE_VARIABLE};
const liveDropped = new Set(['connection', 'date', 'keep-alive', 'server', 'transfer-encoding']);
function liveRouter() {{
    const router = (0, express_1.Router)();
    const say = (res, status, text) => res.status(status).type('text/plain').send(text);
    // Not all('*'): Express would decode the path itself, and fail with a trace where it cannot.
    router.use((req, res) => {{
        if (!['GET', 'HEAD'].includes(req.method)) {{
            say(res.set('Allow', 'GET, HEAD'), 405, 'The Privacy page only shows: GET.');
            return;
        }}
        const [path, query] = req.originalUrl.split('?', 2);
        if (!liveSocket) {{
            say(res, 404, 'There is no Privacy page here: this experiment has no run directory of nni-privacy.');
            return;
        }}
        if (/%(?![0-9a-f]{{2}})/i.test(path)) {{
            say(res, 400, 'The address has a % that no two hexadecimal digits follow.');
            return;
        }}
        if (path === req.baseUrl) {{
            // Links of the page are relative; a relative address never leads to another server.
            res.status(308).set('Location', path.split('/').pop() + '/' + (query ? '?' + query : '')).end();
            return;
        }}
        const headers = {{}};
        for (const name of ['accept', 'if-none-match']) {{
            if (req.headers[name] !== undefined) {{
                headers[name] = req.headers[name];
            }}
        }}
        const asked = require("node:http").request(
            {{ socketPath: liveSocket, method: req.method, path: req.url, headers, timeout: 60000 }},
            answer => {{
                res.status(answer.statusCode);
                for (const [name, value] of Object.entries(answer.headers)) {{
                    if (!liveDropped.has(name)) {{
                        res.setHeader(name, value);
                    }}
                }}
                answer.on('error', () => {{ res.destroy(); }});
                answer.pipe(res);
            }});
        asked.on('timeout', () => {{ asked.destroy(new Error('no answer')); }});
        asked.on('error', () => {{
            if (res.headersSent) {{
                res.destroy();
            }}
            else {{
                say(res, 503, 'The search has ended or does not answer: nni-privacy view DIR shows its run.');
            }}
        }});
        res.on('close', () => {{ asked.destroy(); }});
        asked.end();
    }});
    return router;
}}
function fallbackRouter() {{
"""

_LIVE_PAGE = Patch.of(
    name="live_page",
    why="the web UI shows neither the trade-off nor what an attacker learns while a search runs",
    edits={
        "rest_server/index.js": {
            "    router.use('/logs', logRouter);\n": """    router.use('/logs', logRouter);
    router.use('/privacy', liveRouter());
""",
            "function fallbackRouter() {\n": _ROUTER,
        },
    },
)

LIVE_PATCHES = (_LIVE_PAGE,)
