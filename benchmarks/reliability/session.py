"""A visitor without a browser: one WebSocket session of the app, in Streamlit's own messages.

It opens pages, hands files in and presses nothing else. What a browser draws is not in its seconds.
"""

import http.client
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect

ENDS = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)
PATIENCE = 120.0  # seconds for one page


class Session:
    """One visitor. ``url``: of the server, without a path. As a context manager it leaves at the end."""

    def __init__(self, url: str):
        self.host = urlsplit(url).netloc
        self.token = self._token()
        connection = connect(
            f"ws://{self.host}/_stcore/stream",
            subprotocols=["streamlit"],
            origin=f"http://{self.host}",
            additional_headers={"Cookie": f"_streamlit_xsrf={self.token}"},
            max_size=None,
            ping_interval=None,
        )
        self._life = ExitStack()
        self.socket: ClientConnection = self._life.enter_context(connection)
        self.page, self.query = "", ""
        self.widgets: dict[str, WidgetState] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._life.close()

    def open(self, page: str, query: str = "") -> tuple[float, list[Any]]:
        """Go to a page; its seconds until the server is done, and the elements that it sent.

        Raises TimeoutError where it takes longer than PATIENCE, and RuntimeError where it ended in an exception.
        """
        self.page, self.query, self.widgets = page, query, {}
        return self._rerun()

    def hand_in(self, elements: list[Any], name: str, content: bytes) -> tuple[float, list[Any]]:
        """Upload a file into the page's drop zone, the first among ``elements``; as ``open``, the transfer included."""
        begin = time.perf_counter()
        zone = next(one.file_uploader for one in elements if one.WhichOneof("type") == "file_uploader")
        urls = self.place_for(name)
        if (status := self.put(urls.upload_url, name, content)) >= 300:
            raise RuntimeError(f"The server refused an upload of {len(content)} bytes with {status}.")
        state = WidgetState(id=zone.id)
        info = state.file_uploader_state_value.uploaded_file_info.add(name=name, size=len(content))
        info.file_id = urls.file_id
        info.file_urls.CopyFrom(urls)
        self.widgets[zone.id] = state
        _, drawn = self._rerun()
        return time.perf_counter() - begin, drawn

    def place_for(self, name: str) -> FileURLs:
        """Where the server takes a file of this name from this session."""
        message = BackMsg()
        message.file_urls_request.request_id = "1"
        message.file_urls_request.file_names.append(name)
        self.socket.send(message.SerializeToString())
        while (answer := self._received()).WhichOneof("type") != "file_urls_response":
            pass
        return answer.file_urls_response.file_urls[0]

    def put(self, path: str, name: str, content: bytes, has_token: bool = True) -> int:
        """Upload a file to a path of the server; the status of its answer."""
        edge = "a-line-that-no-file-holds"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        headers = {"X-Xsrftoken": self.token, "Cookie": f"_streamlit_xsrf={self.token}"} if has_token else {}
        headers["Content-Type"] = f"multipart/form-data; boundary={edge}"
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        connection.request("PUT", path, body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def _rerun(self) -> tuple[float, list[Any]]:
        message = BackMsg()
        message.rerun_script.page_name, message.rerun_script.query_string = self.page, self.query
        message.rerun_script.widget_states.widgets.extend(self.widgets.values())
        begin, elements = time.perf_counter(), []
        self.socket.send(message.SerializeToString())
        while True:
            answer = self._received()
            kind = answer.WhichOneof("type")
            if kind == "delta" and answer.delta.WhichOneof("type") == "new_element":
                elements.append(answer.delta.new_element)
                if elements[-1].WhichOneof("type") == "exception":
                    raise RuntimeError(f"/{self.page}?{self.query}: {elements[-1].exception.message}")
            if kind == "script_finished" and answer.script_finished in ENDS:
                return time.perf_counter() - begin, elements

    def _received(self) -> ForwardMsg:
        answer = ForwardMsg()
        answer.ParseFromString(self.socket.recv(PATIENCE))
        return answer

    def _token(self) -> str:
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        connection.request("GET", "/_stcore/health")
        cookie = connection.getresponse().getheader("Set-Cookie") or ""
        connection.close()
        return cookie.partition("_streamlit_xsrf=")[2].partition(";")[0]
