-- Managed by Ansible (role gateway). Compresses a page once, when it is kept; nginx itself can only do so for each answer anew.
local ffi = require "ffi"

ffi.cdef [[
typedef struct {
    const char *next_in; unsigned avail_in; unsigned long total_in;
    char *next_out; unsigned avail_out; unsigned long total_out;
    const char *msg; void *state; void *zalloc; void *zfree; void *opaque;
    int data_type; unsigned long adler; unsigned long reserved;
} gateway_z_stream;
const char *zlibVersion(void);
int deflateInit2_(gateway_z_stream *, int level, int method, int window_bits, int memory, int strategy, const char *version, int size);
unsigned long deflateBound(gateway_z_stream *, unsigned long length);
int deflate(gateway_z_stream *, int flush);
int deflateEnd(gateway_z_stream *);
]]
local zlib = ffi.load("libz.so.1")

local LEVEL, DEFLATED, GZIP_WINDOW, MEMORY, DEFAULT_STRATEGY, FINISH, STREAM_END = 6, 8, 15 + 16, 8, 0, 4, 1

-- The gzip form of a text, or nothing if it is no shorter (a picture, say).
return function(text)
    local stream = ffi.new("gateway_z_stream")
    local version, size = zlib.zlibVersion(), ffi.sizeof("gateway_z_stream")
    if zlib.deflateInit2_(stream, LEVEL, DEFLATED, GZIP_WINDOW, MEMORY, DEFAULT_STRATEGY, version, size) ~= 0 then
        return nil
    end
    local room = tonumber(zlib.deflateBound(stream, #text))
    local out = ffi.new("char[?]", room)
    stream.next_in, stream.avail_in, stream.next_out, stream.avail_out = text, #text, out, room
    local done = zlib.deflate(stream, FINISH) == STREAM_END
    local length = tonumber(stream.total_out)
    zlib.deflateEnd(stream)
    if done and length < #text then
        return ffi.string(out, length)
    end
end
