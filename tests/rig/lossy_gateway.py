"""A proxy before etcd's JSON gateway that loses requests, or their answers, or delivers them late: at random, seeded."""

import http.client
import http.server
import random
import threading
import time


class LossyGateway:
    """Listens on `address` ("127.0.0.1:PORT") and passes on to `member`. Shares are of all requests."""

    def __init__(self, member, seed, lost_requests=0.1, lost_answers=0.15, late=0.005, late_seconds=4):
        self.member, self.random, self.lock = member, random.Random(seed), threading.Lock()
        self.shares, self.late_seconds = (lost_requests, lost_answers, late), late_seconds
        self.counts = {"passed": 0, "lost request": 0, "lost answer": 0, "late": 0}
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request; its connection is cut where something is lost."""

            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802
                """Decides, and passes on."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fate = gateway.fate()
                if fate == "late":
                    time.sleep(gateway.late_seconds)
                status, answer = gateway.forward(self.path, body) if fate != "lost request" else (0, b"")
                if fate != "passed" or not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fate(self):
        """What happens to the next request."""
        with self.lock:
            number = self.random.random()
            fate = "passed"
            for name, share in zip(("lost request", "lost answer", "late"), self.shares):
                if number < share:
                    fate = name
                    break
                number -= share
            self.counts[fate] += 1
            return fate

    def forward(self, path, body):
        """(status, body) of etcd's answer; (0, b"") where it gives none."""
        connection = http.client.HTTPConnection(self.member, timeout=20)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def close(self):
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
