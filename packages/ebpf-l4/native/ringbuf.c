/* SPDX-License-Identifier: Apache-2.0 */
/* The ring buffer, polled: records of one size are copied into the caller's buffer. */
#include "binding.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/libbpf.h>

struct ring {
	struct ring_buffer *ring;
	struct bytes into;
	size_t used, record;
};

static const napi_type_tag ring_kind = { 0x70696c6c696f6e00, 2 };

/* Stops the walk when the buffer is full; libbpf has counted this record as consumed by then. */
static int on_record(void *context, void *data, size_t size)
{
	struct ring *ring = context;

	if (size == ring->record) {
		memcpy(ring->into.data + ring->used, data, size);
		ring->used += size;
	}
	return ring->used + ring->record > ring->into.length ? -EXFULL : 0;
}

static void ring_finalize(napi_env env, void *data, void *hint)
{
	struct ring *ring = data;

	(void)env;
	(void)hint;
	if (ring->ring)
		ring_buffer__free(ring->ring);
	free(ring);
}

/* (mapFd, recordSize) -> handle */
EXPORT(ringbuf_open)
{
	struct ring *ring;
	struct call call;
	int fd, record;

	if (!call_begin(&call, env, info, 2))
		return NULL;
	fd = arg_int(&call, 0);
	record = arg_int(&call, 1);
	if (call.failed)
		return NULL;
	if (record <= 0)
		return throw_range(env, "record size");
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return throw_errno(env, "ring buffer", ENOMEM);
	ring->record = (size_t)record;
	log_clear();
	ring->ring = ring_buffer__new(fd, on_record, ring, NULL);
	if (!ring->ring) {
		free(ring);
		return throw_errno(env, "ring buffer", errno);
	}
	return make_external(env, ring, ring_finalize, &ring_kind);
}

/* (handle, Buffer) -> bytes filled: as many whole records as there were and fit */
EXPORT(ringbuf_consume)
{
	struct ring *ring;
	struct call call;
	int result;

	if (!call_begin(&call, env, info, 2))
		return NULL;
	ring = arg_external(&call, 0, &ring_kind);
	if (call.failed)
		return NULL;
	ring->into = arg_bytes(&call, 1);
	if (call.failed)
		return NULL;
	if (!ring->ring || ring->into.length < ring->record)
		return throw_range(env, "ring buffer closed, or room for no record");
	ring->used = 0;
	result = ring_buffer__consume(ring->ring);
	if (result < 0 && result != -EXFULL)
		return throw_errno(env, "ring buffer", result);
	return make_number(env, (double)ring->used);
}

/* (handle) */
EXPORT(ringbuf_close)
{
	struct ring *ring;
	struct call call;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	ring = arg_external(&call, 0, &ring_kind);
	if (call.failed)
		return NULL;
	if (ring->ring)
		ring_buffer__free(ring->ring);
	ring->ring = NULL;
	return make_undefined(env);
}
