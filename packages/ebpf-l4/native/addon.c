/* SPDX-License-Identifier: Apache-2.0 */
/* Registration table, arguments and errors. */
#include "binding.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <bpf/libbpf.h>

#define LOG_SIZE (256 * 1024)
static char log_buffer[LOG_SIZE];
static size_t log_length;

static int log_append(enum libbpf_print_level level, const char *format, va_list args)
{
	int written;

	if (level == LIBBPF_DEBUG || log_length >= LOG_SIZE - 1)
		return 0;
	written = vsnprintf(log_buffer + log_length, LOG_SIZE - log_length, format, args);
	if (written > 0)
		log_length += (size_t)written < LOG_SIZE - log_length ? (size_t)written : LOG_SIZE - log_length - 1;
	return written;
}

void log_install(void)
{
	libbpf_set_print(log_append);
}

void log_clear(void)
{
	log_length = 0;
	log_buffer[0] = '\0';
}

const char *log_text(void)
{
	return log_buffer;
}

bool call_begin(struct call *call, napi_env env, napi_callback_info info, size_t want)
{
	call->env = env;
	call->count = MAX_ARGS;
	call->failed = false;
	if (napi_get_cb_info(env, info, &call->count, call->args, NULL, NULL) != napi_ok || call->count < want) {
		napi_throw_type_error(env, "ERR_ARGUMENTS", "too few arguments");
		return false;
	}
	return true;
}

static void fail(struct call *call, size_t i, const char *want)
{
	char text[64];

	if (call->failed)
		return;
	call->failed = true;
	snprintf(text, sizeof(text), "argument %zu: %s wanted", i, want);
	napi_throw_type_error(call->env, "ERR_ARGUMENTS", text);
}

int32_t arg_int(struct call *call, size_t i)
{
	double value = arg_number(call, i);

	/* Not napi_get_value_int32: it makes 0 of NaN, which is a descriptor. */
	if (call->failed)
		return -1;
	if (!(value >= INT32_MIN && value <= INT32_MAX) || value != (int32_t)value) {
		fail(call, i, "integer");
		return -1;
	}
	return (int32_t)value;
}

double arg_number(struct call *call, size_t i)
{
	double value = 0;

	if (!call->failed && napi_get_value_double(call->env, call->args[i], &value) != napi_ok)
		fail(call, i, "number");
	return value;
}

struct bytes arg_bytes(struct call *call, size_t i)
{
	struct bytes bytes = { 0 };
	void *data = NULL;

	if (!call->failed && napi_get_buffer_info(call->env, call->args[i], &data, &bytes.length) != napi_ok)
		fail(call, i, "Buffer");
	bytes.data = data;
	return bytes;
}

void arg_string(struct call *call, size_t i, char *buffer, size_t size)
{
	size_t length = 0;

	buffer[0] = '\0';
	if (call->failed)
		return;
	if (napi_get_value_string_utf8(call->env, call->args[i], NULL, 0, &length) != napi_ok)
		fail(call, i, "string");
	else if (length >= size)
		fail(call, i, "shorter string");
	else
		napi_get_value_string_utf8(call->env, call->args[i], buffer, size, &length);
}

void *arg_external(struct call *call, size_t i, const napi_type_tag *kind)
{
	napi_valuetype type = napi_undefined;
	bool same = false;
	void *value = NULL;

	if (call->failed)
		return NULL;
	if (napi_typeof(call->env, call->args[i], &type) != napi_ok || type != napi_external ||
	    napi_check_object_type_tag(call->env, call->args[i], kind, &same) != napi_ok || !same ||
	    napi_get_value_external(call->env, call->args[i], &value) != napi_ok || !value)
		fail(call, i, "handle of the right kind");
	return value;
}

napi_value make_external(napi_env env, void *data, napi_finalize finalize, const napi_type_tag *kind)
{
	napi_value result;

	if (napi_create_external(env, data, finalize, NULL, &result) != napi_ok) {
		finalize(env, data, NULL);
		return throw_errno(env, "handle", ENOMEM);
	}
	return napi_type_tag_object(env, result, kind) == napi_ok ? result : throw_errno(env, "handle", ENOMEM);
}

napi_value throw_errno(napi_env env, const char *what, int error)
{
	napi_value message, code, exception;
	char text[512];

	if (error < 0)
		error = -error;
	snprintf(text, sizeof(text), "%s: %s", what, strerror(error));
	napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message);
	napi_create_string_utf8(env, "ERR_BPF", NAPI_AUTO_LENGTH, &code);
	if (napi_create_error(env, code, message, &exception) == napi_ok) {
		set_number(env, exception, "errno", error);
		set_string(env, exception, "operation", what);
		if (log_length)
			set_string(env, exception, "log", log_buffer);
		napi_throw(env, exception);
	}
	return NULL;
}

napi_value throw_range(napi_env env, const char *what)
{
	napi_throw_range_error(env, "ERR_LENGTH", what);
	return NULL;
}

napi_value make_number(napi_env env, double value)
{
	napi_value result = NULL;

	napi_create_double(env, value, &result);
	return result;
}

napi_value make_undefined(napi_env env)
{
	napi_value result = NULL;

	napi_get_undefined(env, &result);
	return result;
}

bool set_number(napi_env env, napi_value object, const char *name, double value)
{
	napi_value number = make_number(env, value);

	return number && napi_set_named_property(env, object, name, number) == napi_ok;
}

bool set_string(napi_env env, napi_value object, const char *name, const char *value)
{
	napi_value string;

	return napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &string) == napi_ok &&
	       napi_set_named_property(env, object, name, string) == napi_ok;
}

static const struct {
	const char *name;
	napi_callback function;
} table[] = {
	{ "objectOpen", object_open },
	{ "objectSetVariable", object_set_variable },
	{ "objectPrograms", object_programs },
	{ "objectOmit", object_omit },
	{ "hasHelper", has_helper },
	{ "objectLoad", object_load },
	{ "objectProgramFd", object_program_fd },
	{ "objectClose", object_close },
	{ "linkCreate", link_create },
	{ "linkUpdate", link_update },
	{ "linkInfo", link_info },
	{ "progAttach", prog_attach },
	{ "progQuery", prog_query },
	{ "progById", prog_by_id },
	{ "progInfo", prog_info },
	{ "pin", pin },
	{ "getPinned", get_pinned },
	{ "closeFd", close_fd },
	{ "openDirectory", open_directory },
	{ "lockFile", lock_file },
	{ "enableStats", enable_stats },
	{ "mapInfo", map_info },
	{ "mapLookup", map_lookup },
	{ "mapUpdate", map_update },
	{ "mapDelete", map_delete },
	{ "mapHolds", map_holds },
	{ "mapDump", map_dump },
	{ "ringbufOpen", ringbuf_open },
	{ "ringbufConsume", ringbuf_consume },
	{ "ringbufClose", ringbuf_close },
};

NAPI_MODULE_INIT()
{
	log_install();
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		napi_value function;

		if (napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].function, NULL, &function) !=
			    napi_ok ||
		    napi_set_named_property(env, exports, table[i].name, function) != napi_ok)
			return NULL;
	}
	return exports;
}
