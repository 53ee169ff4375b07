"""What all services of this folder are: a caller that is told what to ask, or a callee that tells how it was asked.

    python3 with_LIBRARY.py caller            an order per line on standard input, an answer per line on standard output
    python3 with_LIBRARY.py callee PORT       answers every GET

An order is JSON: `url`, the library's `format`, and `parent`, the span that the caller itself was called from, as `trace`
and `span` in hexadecimal digits, `priority` in Datadog's numbers (-1 to 2), and `origin` and `tags`, also Datadog's.
Without a parent the caller begins a trace, in its library's own way.
"""

import http.server
import json
import sys
import urllib.request


def run(call, serve):
    """`call(order, send)` returns what it calls itself; `serve(path, headers)` likewise."""
    role, *port = sys.argv[1:]
    if role == "caller":
        for line in sys.stdin:
            order, answers, sent = json.loads(line), [], {}

            def send(headers):
                sent.update((name, value) for name, value in headers.items() if value is not None)
                request = urllib.request.Request(order["url"], headers=sent)
                with urllib.request.urlopen(request, timeout=10) as answer:
                    answers.append(json.load(answer))

            caller = call(order, send)
            print(json.dumps({"caller": caller, "sent": sent, "callee": answers[0]}), flush=True)
        return

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = json.dumps(
                serve(self.path, dict(self.headers)) | {"received": dict(self.headers)}
            ).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", int(port[0])), Handler).serve_forever()


def named(trace, span, priority, **more):
    """A span as answers name it: numbers here, digits there."""
    return {"trace": f"{trace:032x}", "span": f"{span:016x}", "priority": str(priority)} | more
