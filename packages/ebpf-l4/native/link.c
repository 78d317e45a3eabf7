/* SPDX-License-Identifier: Apache-2.0 */
/* Programs on hooks: links, attachment to a sockhash, queries, pins. */
#include "binding.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <bpf/bpf.h>

#define MAX_PROGRAMS 64

/* (programFd, targetFd, attachType) -> link descriptor */
EXPORT(link_create)
{
	int program, target, type, fd;
	struct call call;

	if (!call_begin(&call, env, info, 3))
		return NULL;
	program = arg_int(&call, 0);
	target = arg_int(&call, 1);
	type = arg_int(&call, 2);
	if (call.failed)
		return NULL;
	log_clear();
	fd = bpf_link_create(program, target, (enum bpf_attach_type)type, NULL);
	return fd < 0 ? throw_errno(env, "link create", fd) : make_number(env, fd);
}

/* (linkFd, programFd): atomic */
EXPORT(link_update)
{
	struct call call;
	int link, program, error;

	if (!call_begin(&call, env, info, 2))
		return NULL;
	link = arg_int(&call, 0);
	program = arg_int(&call, 1);
	if (call.failed)
		return NULL;
	log_clear();
	error = bpf_link_update(link, program, NULL);
	return error ? throw_errno(env, "link update", error) : make_undefined(env);
}

/* (linkFd) -> {id, programId, cgroupId, attachType} */
EXPORT(link_info)
{
	struct bpf_link_info link = { 0 };
	uint32_t size = sizeof(link);
	napi_value result;
	struct call call;
	int error;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	error = arg_int(&call, 0);
	if (call.failed)
		return NULL;
	log_clear();
	error = bpf_obj_get_info_by_fd(error, &link, &size);
	if (error)
		return throw_errno(env, "link info", error);
	napi_create_object(env, &result);
	set_number(env, result, "id", link.id);
	set_number(env, result, "programId", link.prog_id);
	set_number(env, result, "cgroupId", link.type == BPF_LINK_TYPE_CGROUP ? (double)link.cgroup.cgroup_id : 0);
	set_number(env, result, "attachType", link.type == BPF_LINK_TYPE_CGROUP ? link.cgroup.attach_type : 0);
	return result;
}

/* (programFd, mapFd, attachType): sk_msg on a sockhash; replaces the program that is there */
EXPORT(prog_attach)
{
	int program, target, type, error;
	struct call call;

	if (!call_begin(&call, env, info, 3))
		return NULL;
	program = arg_int(&call, 0);
	target = arg_int(&call, 1);
	type = arg_int(&call, 2);
	if (call.failed)
		return NULL;
	log_clear();
	error = bpf_prog_attach(program, target, (enum bpf_attach_type)type, 0);
	return error ? throw_errno(env, "attach", error) : make_undefined(env);
}

/*
 * (targetFd, attachType, flags) -> {attachFlags, ids}; with flag BPF_F_QUERY_EFFECTIVE what really runs, in its order.
 * attachFlags is 0 with programs on the hook: whoever put them there lets nobody in beside them or below.
 */
EXPORT(prog_query)
{
	uint32_t ids[MAX_PROGRAMS], count = MAX_PROGRAMS, attach_flags = 0;
	int target, type, flags, error;
	napi_value result, list, id;
	struct call call;

	if (!call_begin(&call, env, info, 3))
		return NULL;
	target = arg_int(&call, 0);
	type = arg_int(&call, 1);
	flags = arg_int(&call, 2);
	if (call.failed)
		return NULL;
	log_clear();
	error = bpf_prog_query(target, (enum bpf_attach_type)type, (uint32_t)flags, &attach_flags, ids, &count);
	if (error)
		return throw_errno(env, "query", error);
	napi_create_array_with_length(env, count, &list);
	for (uint32_t i = 0; i < count; i++) {
		napi_create_uint32(env, ids[i], &id);
		napi_set_element(env, list, i, id);
	}
	napi_create_object(env, &result);
	set_number(env, result, "attachFlags", attach_flags);
	napi_set_named_property(env, result, "ids", list);
	return result;
}

/* (id) -> descriptor, or -1 when there is none by now; needs CAP_SYS_ADMIN, as programs of others do */
EXPORT(prog_by_id)
{
	struct call call;
	int id, fd;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	id = arg_int(&call, 0);
	if (call.failed)
		return NULL;
	log_clear();
	fd = bpf_prog_get_fd_by_id((uint32_t)id);
	if (fd < 0 && errno != ENOENT)
		return throw_errno(env, "program by id", errno);
	return make_number(env, fd < 0 ? -1 : fd);
}

/* (programFd) -> {id, type, name, tag, runTimeNs, runCount} */
EXPORT(prog_info)
{
	char tag[2 * BPF_TAG_SIZE + 1] = "";
	struct bpf_prog_info program = { 0 };
	uint32_t size = sizeof(program);
	napi_value result;
	struct call call;
	int error;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	error = arg_int(&call, 0);
	if (call.failed)
		return NULL;
	log_clear();
	error = bpf_obj_get_info_by_fd(error, &program, &size);
	if (error)
		return throw_errno(env, "program info", error);
	for (int i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(tag + 2 * i, 3, "%02x", program.tag[i]);
	napi_create_object(env, &result);
	set_number(env, result, "id", program.id);
	set_number(env, result, "type", program.type);
	set_string(env, result, "name", program.name);
	set_string(env, result, "tag", tag);
	set_number(env, result, "runTimeNs", (double)program.run_time_ns);
	set_number(env, result, "runCount", (double)program.run_cnt);
	return result;
}

/* (fd, path) */
EXPORT(pin)
{
	char path[PATH_MAX];
	struct call call;
	int fd, error;

	if (!call_begin(&call, env, info, 2))
		return NULL;
	fd = arg_int(&call, 0);
	arg_string(&call, 1, path, sizeof(path));
	if (call.failed)
		return NULL;
	log_clear();
	error = bpf_obj_pin(fd, path);
	return error ? throw_errno(env, path, error) : make_undefined(env);
}

/* (path) -> descriptor, or -1 when nothing is pinned there */
EXPORT(get_pinned)
{
	char path[PATH_MAX];
	struct call call;
	int fd;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	arg_string(&call, 0, path, sizeof(path));
	if (call.failed)
		return NULL;
	log_clear();
	fd = bpf_obj_get(path);
	if (fd < 0 && errno != ENOENT)
		return throw_errno(env, path, errno);
	return make_number(env, fd < 0 ? -1 : fd);
}

/* (fd) */
EXPORT(close_fd)
{
	struct call call;
	int fd;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	fd = arg_int(&call, 0);
	if (call.failed)
		return NULL;
	close(fd);
	return make_undefined(env);
}

/* (path) -> descriptor: a cgroup is attached to by an open directory */
EXPORT(open_directory)
{
	char path[PATH_MAX];
	struct call call;
	int fd;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	arg_string(&call, 0, path, sizeof(path));
	if (call.failed)
		return NULL;
	log_clear();
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? throw_errno(env, path, errno) : make_number(env, fd);
}

/*
 * (descriptor) -> locked? An advisory lock for as long as the descriptor is open: the kernel lets go of it with the process,
 * and it is seen across pid namespaces.
 */
EXPORT(lock_file)
{
	napi_value result = NULL;
	struct call call;
	int fd, error;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	fd = arg_int(&call, 0);
	if (call.failed)
		return NULL;
	log_clear();
	error = flock(fd, LOCK_EX | LOCK_NB) ? errno : 0;
	if (error && error != EWOULDBLOCK)
		return throw_errno(env, "flock", error);
	napi_get_boolean(env, !error, &result);
	return result;
}

/* () -> descriptor: run time statistics are kept while it is open */
EXPORT(enable_stats)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

	(void)info;
	log_clear();
	return fd < 0 ? throw_errno(env, "enable stats", fd) : make_number(env, fd);
}
