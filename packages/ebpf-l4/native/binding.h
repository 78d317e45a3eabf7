/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binding is a wire: it checks lengths, calls libbpf, returns a number or throws an Error with `errno` and `code`.
 * Policy, typing and retries are TypeScript (src/native.ts is the only importer).
 */
#ifndef PILLION_BINDING_H
#define PILLION_BINDING_H

#include <stdbool.h>
#include <stdint.h>
#include <node_api.h>

#define MAX_ARGS 6

/* Arguments of one call; parse_* set `failed` and leave an exception pending. */
struct call {
	napi_env env;
	napi_value args[MAX_ARGS];
	size_t count;
	bool failed;
};

struct bytes {
	uint8_t *data;
	size_t length;
};

bool call_begin(struct call *call, napi_env env, napi_callback_info info, size_t want);
int32_t arg_int(struct call *call, size_t i);
double arg_number(struct call *call, size_t i);
struct bytes arg_bytes(struct call *call, size_t i);
/* `buffer` holds a NUL-terminated copy; too long is an error. */
void arg_string(struct call *call, size_t i, char *buffer, size_t size);
/* The handle must be of this kind: another kind's memory is never touched. */
void *arg_external(struct call *call, size_t i, const napi_type_tag *kind);
/* NULL, with an exception pending, when there is no memory: `finalize` was called then. */
napi_value make_external(napi_env env, void *data, napi_finalize finalize, const napi_type_tag *kind);

/* Throws Error(`${what}: ${strerror(error)}`) with errno and, when libbpf wrote one, the log. Returns NULL. */
napi_value throw_errno(napi_env env, const char *what, int error);
napi_value throw_range(napi_env env, const char *what);
napi_value make_number(napi_env env, double value);
napi_value make_undefined(napi_env env);
bool set_number(napi_env env, napi_value object, const char *name, double value);
bool set_string(napi_env env, napi_value object, const char *name, const char *value);

/* libbpf's messages since the last call, for verifier logs. */
void log_install(void);
void log_clear(void);
const char *log_text(void);

#define EXPORT(_name) napi_value _name(napi_env env, napi_callback_info info)
EXPORT(object_open);
EXPORT(object_set_variable);
EXPORT(object_programs);
EXPORT(object_omit);
EXPORT(has_helper);
EXPORT(object_load);
EXPORT(object_program_fd);
EXPORT(object_close);
EXPORT(link_create);
EXPORT(link_update);
EXPORT(link_info);
EXPORT(prog_attach);
EXPORT(prog_query);
EXPORT(prog_by_id);
EXPORT(prog_info);
EXPORT(pin);
EXPORT(get_pinned);
EXPORT(close_fd);
EXPORT(open_directory);
EXPORT(lock_file);
EXPORT(enable_stats);
EXPORT(map_info);
EXPORT(map_lookup);
EXPORT(map_update);
EXPORT(map_delete);
EXPORT(map_holds);
EXPORT(map_dump);
EXPORT(ringbuf_open);
EXPORT(ringbuf_consume);
EXPORT(ringbuf_close);

#endif
