/* SPDX-License-Identifier: Apache-2.0 */
/* ELF objects: open, set constants, load. Maps are pinned and adopted by libbpf, by name below the pin directory. */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

/* The handle outlives close(): a second close, or the finalizer, finds NULL. */
struct object {
	struct bpf_object *object;
};

static const napi_type_tag object_kind = { 0x70696c6c696f6e00, 1 };

static void object_finalize(napi_env env, void *data, void *hint)
{
	struct object *handle = data;

	(void)env;
	(void)hint;
	if (handle->object)
		bpf_object__close(handle->object);
	free(handle);
}

static struct bpf_object *opened(struct call *call, size_t i)
{
	struct object *handle = arg_external(call, i, &object_kind);

	if (handle && !handle->object) {
		call->failed = true;
		napi_throw_type_error(call->env, "ERR_ARGUMENTS", "the object is closed");
	}
	return handle ? handle->object : NULL;
}

/* (path, pinDirectory) -> handle; an empty directory keeps the maps private: nothing is pinned or adopted */
EXPORT(object_open)
{
	char path[PATH_MAX], pins[PATH_MAX];
	struct object *handle;
	struct bpf_map *map;
	struct call call;

	if (!call_begin(&call, env, info, 2))
		return NULL;
	arg_string(&call, 0, path, sizeof(path));
	arg_string(&call, 1, pins, sizeof(pins));
	if (call.failed)
		return NULL;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return throw_errno(env, "open", ENOMEM);
	log_clear();
	LIBBPF_OPTS(bpf_object_open_opts, options, .pin_root_path = pins[0] ? pins : NULL);
	handle->object = bpf_object__open_file(path, &options);
	if (!handle->object) {
		free(handle);
		return throw_errno(env, path, errno);
	}
	if (!pins[0])
		bpf_object__for_each_map(map, handle->object) bpf_map__set_pin_path(map, NULL);
	return make_external(env, handle, object_finalize, &object_kind);
}

/* Offset and size of a `const volatile` variable in .rodata. */
static bool find_variable(const struct btf *btf, const char *name, uint32_t *offset, uint32_t *size)
{
	int32_t section = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *type = section < 0 ? NULL : btf__type_by_id(btf, section);
	const struct btf_var_secinfo *variable;

	if (!type)
		return false;
	variable = btf_var_secinfos(type);
	for (int i = 0; i < btf_vlen(type); i++, variable++) {
		const struct btf_type *var = btf__type_by_id(btf, variable->type);

		if (strcmp(btf__name_by_offset(btf, var->name_off), name))
			continue;
		*offset = variable->offset;
		*size = variable->size;
		return true;
	}
	return false;
}

/* (handle, name, Buffer) -> true, or false when the object has no such variable */
EXPORT(object_set_variable)
{
	uint32_t offset = 0, size = 0;
	struct bpf_object *object;
	struct bytes value;
	struct bpf_map *map;
	napi_value result;
	struct call call;
	char name[128];
	size_t length = 0;
	uint8_t *data;
	bool found;

	if (!call_begin(&call, env, info, 3))
		return NULL;
	object = opened(&call, 0);
	arg_string(&call, 1, name, sizeof(name));
	value = arg_bytes(&call, 2);
	if (call.failed)
		return NULL;
	found = find_variable(bpf_object__btf(object), name, &offset, &size);
	if (found) {
		map = NULL;
		bpf_object__for_each_map(map, object)
		{
			if (strstr(bpf_map__name(map), ".rodata"))
				break;
		}
		data = map ? (uint8_t *)bpf_map__initial_value(map, &length) : NULL;
		if (!data || size != value.length || (size_t)offset + size > length)
			return throw_range(env, "the value has not the size of the variable");
		/* The kernel has its own copy by now: the programs would not see the change. */
		if (bpf_map__fd(map) >= 0)
			return throw_errno(env, "the object is loaded", EBUSY);
		memcpy(data + offset, value.data, size);
	}
	napi_get_boolean(env, found, &result);
	return result;
}

/* (handle) -> names of its programs, in the order of the file */
EXPORT(object_programs)
{
	struct bpf_program *program;
	struct bpf_object *object;
	napi_value result, name;
	struct call call;
	uint32_t i = 0;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	object = opened(&call, 0);
	if (call.failed)
		return NULL;
	napi_create_array(env, &result);
	bpf_object__for_each_program(program, object)
	{
		napi_create_string_utf8(env, bpf_program__name(program), NAPI_AUTO_LENGTH, &name);
		napi_set_element(env, result, i++, name);
	}
	return result;
}

/* (handle, name): load leaves this program out */
EXPORT(object_omit)
{
	struct bpf_program *program;
	struct bpf_object *object;
	struct call call;
	char name[128];
	int error;

	if (!call_begin(&call, env, info, 2))
		return NULL;
	object = opened(&call, 0);
	arg_string(&call, 1, name, sizeof(name));
	if (call.failed)
		return NULL;
	log_clear();
	program = bpf_object__find_program_by_name(object, name);
	error = program ? bpf_program__set_autoload(program, false) : -ENOENT;
	return error ? throw_errno(env, name, error) : make_undefined(env);
}

/* (name) -> does the kernel have this helper ("set_retval")? From its BTF, as the programs' own HAS_HELPER. */
EXPORT(has_helper)
{
	char name[128], wanted[160];
	const struct btf_type *type;
	const struct btf_enum *value;
	bool found = false;
	napi_value result;
	struct call call;
	struct btf *btf;
	int32_t id;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	arg_string(&call, 0, name, sizeof(name));
	if (call.failed)
		return NULL;
	log_clear();
	btf = btf__load_vmlinux_btf();
	if (!btf)
		return throw_errno(env, "the kernel's BTF", errno);
	snprintf(wanted, sizeof(wanted), "BPF_FUNC_%s", name);
	id = btf__find_by_name_kind(btf, "bpf_func_id", BTF_KIND_ENUM);
	type = id < 0 ? NULL : btf__type_by_id(btf, id);
	value = type ? btf_enum(type) : NULL;
	for (int i = 0; type && !found && i < btf_vlen(type); i++, value++)
		found = !strcmp(btf__name_by_offset(btf, value->name_off), wanted);
	btf__free(btf);
	napi_get_boolean(env, found, &result);
	return result;
}

/* (handle): creates or adopts the maps, verifies and loads the programs */
EXPORT(object_load)
{
	struct bpf_object *object;
	struct call call;
	int error;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	object = opened(&call, 0);
	if (call.failed)
		return NULL;
	log_clear();
	error = bpf_object__load(object);
	return error ? throw_errno(env, bpf_object__name(object), error) : make_undefined(env);
}

/* (handle, name) -> descriptor that belongs to the handle */
EXPORT(object_program_fd)
{
	struct bpf_program *program;
	struct bpf_object *object;
	struct call call;
	char name[128];

	if (!call_begin(&call, env, info, 2))
		return NULL;
	object = opened(&call, 0);
	arg_string(&call, 1, name, sizeof(name));
	if (call.failed)
		return NULL;
	program = bpf_object__find_program_by_name(object, name);
	if (!program || bpf_program__fd(program) < 0) /* no such program, or not loaded */
		return throw_errno(env, name, ENOENT);
	return make_number(env, bpf_program__fd(program));
}

/* (handle): the descriptors go; what is pinned or attached stays */
EXPORT(object_close)
{
	struct object *handle;
	struct call call;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	handle = arg_external(&call, 0, &object_kind);
	if (call.failed)
		return NULL;
	if (handle->object)
		bpf_object__close(handle->object);
	handle->object = NULL;
	return make_undefined(env);
}
