"""As much of the Hugging Face Hub as sharing a model takes, on a port of this machine: repositories in memory, every commit kept."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "x" * 20


class Hub(ThreadingHTTPServer):
    """Its commits: files by name, by repository and commit; the last commit is the branch main."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *words: Any) -> None:
        pass

    def _send(self, code: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, code: int = 200) -> None:
        self._send(code, json.dumps(value).encode(), Content_Type="application/json")

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Unauthorized"}, 401)
        elif self.path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization']}/{told['name']}" if told.get("organization") else told["name"]
            known = name in self.server.commits
            self.server.commits.setdefault(name, {})
            self.server.private.setdefault(name, told.get("private", told.get("visibility") == "private"))
            self._json({"url": f"{self.server.address}/{name}"}, 409 if known else 200)
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._json({"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]})
        elif found := re.match(r"/api/models/([^/]+/[^/]+)/commit/", self.path):
            rows = [json.loads(line)["value"] for line in body.splitlines() if b'"file"' in line[:20]]
            gone = {json.loads(line)["value"]["path"] for line in body.splitlines() if b'"deletedFile"' in line[:30]}
            before = list(self.server.commits[found[1]].values())[-1:]
            files = {name: data for one in before for name, data in one.items() if name not in gone}
            files |= {row["path"]: base64.b64decode(row["content"]) for row in rows}
            oid = hashlib.sha1(body).hexdigest()
            self.server.commits[found[1]][oid] = files
            self._json({"commitUrl": f"{self.server.address}/{found[1]}/commit/{oid}", "commitOid": oid})
        else:
            self._json({}, 404)

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if found[1] not in self.server.commits:
                return self._send(404, b"{}", X_Error_Code="RepoNotFound")
            commits = self.server.commits[found[1]] or {"0" * 40: {}}
            oid = found[2] if found[2] not in (None, "main") else list(commits)[-1]
            if oid not in commits:
                return self._send(404, b"{}", X_Error_Code="RevisionNotFound")
            siblings = [{"rfilename": name, "size": len(data)} for name, data in commits[oid].items()]
            return self._json({"id": found[1], "sha": oid, "siblings": siblings})
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            data = self.server.commits.get(found[1], {}).get(found[2], {}).get(found[3])
            if data is not None:
                tag = f'"{hashlib.sha256(data).hexdigest()}"'
                return self._send(200, data, ETag=tag, X_Repo_Commit=found[2])
        return self._send(404, b"{}", X_Error_Code="EntryNotFound")

    do_HEAD = do_GET


@contextmanager
def hub_stub() -> Iterator[Hub]:
    """The hub while the block lasts."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
