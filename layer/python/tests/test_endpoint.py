"""What the network and the process around it do to requests: a server that hangs up, restarts, or answers nonsense."""

import contextlib
import os
import pickle
import socket
import tempfile
import threading
import unittest
from unittest import mock

import aft
from aft import _endpoint

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"v\"\r\nContent-Length: 1\r\n\r\n1"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status, body, content_type="application/problem+json"):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Server:
    """Says what it is told to, a connection after the other; a script is what it does on each of them.

    Of a script, bytes answer a request, and None hangs up after having read one. The end of it hangs up, too.
    """

    def __init__(self, *scripts, port=0):
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.idle = threading.Event()
        self.hang_up = threading.Event()
        self.thread = threading.Thread(target=self.serve, args=scripts, daemon=True)
        self.thread.start()

    def serve(self, *scripts):
        with self.listener:
            for script in scripts:
                with self.listener.accept()[0] as connection, connection.makefile("rb") as lines:
                    for reply in script:
                        if reply == "idle":
                            # Hangs up when told to, with nothing under way.
                            self.idle.set()
                            self.hang_up.wait()
                            break
                        request = self.read(lines)
                        if not request or reply is None:
                            break
                        connection.sendall(reply)

    def read(self, lines):
        head = []
        while (line := lines.readline()) not in (b"\r\n", b""):
            head.append(line.decode().strip())
        headers = dict(line.lower().split(": ", 1) for line in head[1:])
        body = lines.read(int(headers.get("content-length", 0)))
        if head:
            self.requests.append((head[0], headers, body))
        return head


class EndpointTest(unittest.TestCase):
    def setUp(self):
        self.exit = contextlib.ExitStack()
        self.addCleanup(self.exit.close)
        self.environment = self.exit.enter_context(mock.patch.dict(os.environ, {"AFT_TOKEN": "secret"}))
        os.environ.pop("AFT_TOKEN_FILE", None)
        self.addCleanup(lambda: _endpoint._line.hang_up())

    def serve(self, *scripts):
        server = Server(*scripts)
        os.environ["AFT_ENDPOINT"] = f"http://127.0.0.1:{server.port}"
        return server

    def assert_code(self, code, call):
        with self.assertRaises(aft.Error) as raised:
            call()
        self.assertEqual(raised.exception.code, code)
        return raised.exception

    def test_one_connection_serves_all_requests_of_a_thread(self):
        server = self.serve([OK, NO_CONTENT, OK])
        self.assertEqual(aft.get("a b"), 1)
        aft.put("é", {"x": None})
        self.assertEqual(aft.get("a"), 1)
        lines = [line for line, _, _ in server.requests]
        self.assertEqual(lines, ["GET /v1/kv/a%20b HTTP/1.1", "PUT /v1/kv/%C3%A9 HTTP/1.1", "GET /v1/kv/a HTTP/1.1"])
        self.assertEqual(server.requests[1][2], b'{"x":null}')
        self.assertEqual({headers["x-aft-token"] for _, headers, _ in server.requests}, {"secret"})

    def test_small_packets_are_not_held_back(self):
        self.serve([OK])
        aft.get("a")
        used = _endpoint._line.connection.socket
        self.assertNotEqual(used.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0)

    def test_every_thread_has_a_connection_of_its_own(self):
        server = self.serve([OK, "idle"], [OK])
        aft.get("a")
        server.idle.wait()
        server.hang_up.set()
        thread = threading.Thread(target=aft.get, args=["b"])
        thread.start()
        thread.join()
        self.assertEqual(len(server.requests), 2)

    def test_a_connection_that_was_closed_while_idle_is_not_used_again(self):
        """Not even for what must not arrive twice: the end is seen before anything is sent."""
        server = self.serve([OK, "idle"], [NO_CONTENT])
        aft.get("a")
        server.idle.wait()
        server.hang_up.set()
        # The end has arrived when the second connection is being waited for.
        _endpoint._line.connection.socket.recv(1, socket.MSG_PEEK)
        aft.put("a", 1, if_absent=True)
        self.assertEqual([headers.get("if-none-match") for _, headers, _ in server.requests], [None, "*"])

    def test_a_request_that_may_arrive_twice_is_sent_again_once(self):
        server = self.serve([OK, None], [OK])
        aft.get("a")
        self.assertEqual(aft.get("b"), 1)
        self.assertEqual([line.split()[1] for line, _, _ in server.requests], ["/v1/kv/a", "/v1/kv/b", "/v1/kv/b"])
        server = self.serve([OK, None], [None], [OK])
        aft.get("a")
        self.assert_code("connection-failed", lambda: aft.get("b"))
        self.assertEqual(len(server.requests), 3)

    def test_a_request_that_must_not_arrive_twice_is_not_sent_again(self):
        calls = [
            lambda: aft.put("a", 1, if_version="v"),
            lambda: aft.put("a", 1, if_absent=True),
            lambda: aft.delete("a", if_version="v"),
            lambda: aft.abort(),
            lambda: aft.transaction("k", lambda tx: None),
        ]
        for call in calls:
            server = self.serve([OK, None], [OK])
            aft.get("a")
            self.assert_code("connection-failed", call)
            self.assertEqual(len(server.requests), 2)

    def test_a_lost_commit_is_told_and_aborted(self):
        begun = answer("201 Created", b'{"transaction": "t1", "attempt": 3, "state": "open"}', "application/json")
        server = self.serve([begun, None], [NO_CONTENT])
        self.assert_code("connection-failed", lambda: aft.transaction("k", lambda tx: 5))
        lines = [line.split()[1] for line, _, _ in server.requests]
        self.assertEqual(lines, ["/v1/transactions", "/v1/transactions/t1:commit", "/v1/transactions/t1:abort"])
        self.assertEqual(server.requests[1][1]["x-aft-attempt"], "3")

    def test_a_server_that_restarted_in_between_is_found_again(self):
        server = self.serve([OK])
        aft.get("a")
        server.thread.join()
        Server([OK], port=server.port)
        self.assertEqual(aft.get("b"), 1)

    def test_nobody_there_is_told(self):
        server = self.serve()
        server.thread.join()
        error = self.assert_code("connection-failed", lambda: aft.get("a"))
        self.assertIn(f"127.0.0.1:{server.port}", str(error))
        self.assertIsNone(error.status)

    def test_an_interrupted_answer_does_not_become_the_next_one(self):
        self.serve([OK], [OK.replace(b"\r\n1", b"\r\n2")])
        with mock.patch.object(_endpoint._Connection, "receive", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                aft.get("a")
        self.assertEqual(aft.get("b"), 2)

    def test_an_answer_that_is_cut_off_or_no_http_is_no_answer(self):
        for text in (OK[:-1], OK[:20], b"220 mail.example ESMTP\r\n\r\n", b"HTTP/1.1 200 OK"):
            self.serve([text])
            self.assert_code("connection-failed", lambda: aft.get("a"))

    def test_a_connection_that_the_server_ends_is_not_used_again(self):
        server = self.serve([OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK], [OK])
        aft.get("a")
        self.assertIsNone(_endpoint._line.connection)
        self.assertEqual(aft.get("b"), 1)
        self.assertEqual(len(server.requests), 2)

    def test_a_child_does_not_write_into_its_parents_connection(self):
        server = self.serve([OK, OK], [OK])
        aft.get("parent")
        parents = _endpoint._line.connection.socket.fileno()
        child = os.fork()
        if child == 0:
            # Its own connection is only accepted when the parent's has ended; that there is one to be is all that is asked here.
            os._exit(0 if _endpoint._line.connection is None else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(_endpoint._line.connection.socket.fileno(), parents)
        self.assertEqual(aft.get("parent again"), 1)
        self.assertEqual(len(server.requests), 2)

    def test_the_token_file_is_read_for_every_request(self):
        """Under SnapStart the token changes with a restore."""
        server = self.serve([OK, OK])
        with tempfile.NamedTemporaryFile("w") as file:
            os.environ["AFT_TOKEN_FILE"] = file.name
            for token in ("before", "after "):
                file.seek(0)
                file.write(token)
                file.flush()
                aft.get("a")
        self.assertEqual([headers["x-aft-token"] for _, headers, _ in server.requests], ["before", "after"])

    def test_an_answer_that_is_no_problem_document_is_told_as_it_is(self):
        texts = [b"", b"<html>", b"[]", b"null", b'"x"', b'{"detail": "no code"}', b"\xff"]
        self.serve([answer("503 Oh", text, "text/html") for text in texts])
        for text in texts:
            error = self.assert_code("unexpected-answer", lambda: aft.get("a"))
            self.assertIn("GET /v1/kv/a was answered with 503", error.detail)

    def test_a_problem_document_becomes_an_error_of_its_class(self):
        def problem(code):
            return answer("409 X", f'{{"code": "{code}", "detail": "why", "new": []}}'.encode())

        classes = {
            "commit-conflict": aft.Conflict,
            "read-conflict": aft.Conflict,
            "precondition-failed": aft.PreconditionFailed,
            "a-code-of-tomorrow": aft.Error,
        }
        self.serve([problem(code) for code in classes])
        for code, kind in classes.items():
            error = self.assert_code(code, lambda: aft.get("a"))
            self.assertIs(type(error), kind)
            self.assertEqual((error.status, error.detail, error.page), (409, "why", f"docs/errors/{code}.md"))
            copy = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(copy), str(copy)), (kind, str(error)))

    def test_without_an_endpoint_it_is_said_what_to_do(self):
        os.environ.pop("AFT_ENDPOINT", None)
        error = self.assert_code("no-endpoint", lambda: aft.get("a"))
        for remedy in ("AWS_LAMBDA_EXEC_WRAPPER", "aft.testing.Fake", "docs/libraries.md"):
            self.assertIn(remedy, str(error))


if __name__ == "__main__":
    unittest.main()
