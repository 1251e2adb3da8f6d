"""The only ways in and out of a lab, as one small process: `relay.py CONFIGURATION`.

It lives outside the lab's network namespace and holds sockets on both sides:
- out: an address inside the lab for each package source, handed on to that source and to nothing else;
- in: the public port of 127.0.0.1, handed on to the gateway as a stranger;
- ssh: a unix socket over which connect.py gets connections that begin at the operator's address.
"""

import asyncio
import ctypes
import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

CHUNK = 256 * 1024
PATIENCE_SECONDS = 15


class Relay:
    def __init__(self, configuration):
        self.configuration = configuration
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.inside = os.open(configuration["namespace"], os.O_RDONLY)

    def socket_inside(self, family):
        """A socket stays in the namespace in which it was made."""
        self.enter(self.inside)
        try:
            return socket.socket(family, socket.SOCK_STREAM)
        finally:
            self.enter(self.outside)

    def enter(self, descriptor):
        if self.libc.setns(descriptor, 0x40000000):
            raise OSError(ctypes.get_errno(), "cannot change the network namespace")

    def listen_inside(self, address, port):
        listener = self.socket_inside(family_of(address))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(256)
        return listener

    async def connect_inside(self, address, port, source):
        connection = self.socket_inside(family_of(address))
        try:
            connection.setblocking(False)
            connection.bind((source, 0))
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, (address, port)), PATIENCE_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    async def run(self):
        for address, port, host, host_port in self.configuration["sources"]:
            handler = self.hand_on(lambda host=host, port=host_port: asyncio.open_connection(
                host, port, limit=CHUNK, happy_eyeballs_delay=0.25))
            await asyncio.start_server(handler, sock=self.listen_inside(address, port), limit=CHUNK)
        if self.configuration["public"]:
            port, address, source = self.configuration["public"]

            async def to_gateway():
                return await asyncio.open_connection(sock=await self.connect_inside(address, 443, source), limit=CHUNK)

            await asyncio.start_server(self.hand_on(to_gateway), "127.0.0.1", port, limit=CHUNK)
        await self.serve_ssh()

    def hand_on(self, connect):
        async def handle(reader, writer):
            try:
                far_reader, far_writer = await asyncio.wait_for(connect(), PATIENCE_SECONDS)
            except OSError as error:
                print(f"relay: {writer.get_extra_info('sockname')}: {error!r}", flush=True)
                writer.transport.abort()
                return
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
            for end in (writer, far_writer):
                end.close()
        return handle

    async def serve_ssh(self):
        path = Path(self.configuration["socket"])
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            os.umask(0o177)
            listener.bind(str(path))
            os.chown(path, *self.configuration["owner"])
            listener.listen(64)
            listener.setblocking(False)
            pending = set()
            while True:
                client, _ = await asyncio.get_running_loop().sock_accept(listener)
                task = asyncio.create_task(self.answer(client))
                pending.add(task)
                task.add_done_callback(pending.discard)

    async def answer(self, client):
        with client:
            try:
                request = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 400), PATIENCE_SECONDS)
                host, port = request.decode().split()
                address, source = self.configuration["hosts"][host]
            except (OSError, ValueError, KeyError):
                client.send(b"no such host in this lab")
                return
            try:
                with await self.connect_inside(address, int(port), source) as connection:
                    connection.setblocking(True)
                    socket.send_fds(client, [b"\0"], [connection.fileno()])
            except OSError as error:
                with suppress(OSError):
                    client.send(f"{host} port {port}: {error or 'no answer'}".encode())


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def pump(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(Relay(json.loads(Path(sys.argv[1]).read_text())).run())
