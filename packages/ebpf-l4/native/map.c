/* SPDX-License-Identifier: Apache-2.0 */
/* Maps by descriptor. Every buffer is checked against the sizes that the kernel reports for that map. */
#include "binding.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool info_of(napi_env env, int fd, struct bpf_map_info *info)
{
	uint32_t size = sizeof(*info);
	int error;

	memset(info, 0, sizeof(*info));
	log_clear();
	error = bpf_obj_get_info_by_fd(fd, info, &size);
	/* Not known: every buffer would be the wrong size. libbpf remembers the number once it knows it. */
	if (!error && is_per_cpu(info->type) && libbpf_num_possible_cpus() <= 0)
		error = -ENODEV;
	if (error)
		throw_errno(env, "map info", error);
	return !error;
}

/* The kernel copies one value for each possible CPU from per-CPU maps, padded to eight bytes. */
static size_t value_size(const struct bpf_map_info *info)
{
	if (!is_per_cpu(info->type))
		return info->value_size;
	return (info->value_size + 7) / 8 * 8 * (size_t)libbpf_num_possible_cpus();
}

/* (fd) -> {name, type, keySize, valueSize, maxEntries, id}; valueSize is what lookup wants */
EXPORT(map_info)
{
	struct bpf_map_info map;
	napi_value result;
	struct call call;
	int fd;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	fd = arg_int(&call, 0);
	if (call.failed || !info_of(env, fd, &map))
		return NULL;
	napi_create_object(env, &result);
	set_number(env, result, "id", map.id);
	set_string(env, result, "name", map.name);
	set_number(env, result, "type", map.type);
	set_number(env, result, "keySize", map.key_size);
	set_number(env, result, "valueSize", (double)value_size(&map));
	set_number(env, result, "maxEntries", map.max_entries);
	return result;
}

/* (fd, key, value) -> true when found; value is filled */
EXPORT(map_lookup)
{
	struct bytes key, value;
	struct bpf_map_info map;
	napi_value result;
	struct call call;
	int fd, error;

	if (!call_begin(&call, env, info, 3))
		return NULL;
	fd = arg_int(&call, 0);
	key = arg_bytes(&call, 1);
	value = arg_bytes(&call, 2);
	if (call.failed || !info_of(env, fd, &map))
		return NULL;
	if (key.length != map.key_size || value.length != value_size(&map))
		return throw_range(env, "key or value has not the size of the map's");
	error = bpf_map_lookup_elem(fd, key.data, value.data);
	if (error && error != -ENOENT)
		return throw_errno(env, "map lookup", error);
	napi_get_boolean(env, !error, &result);
	return result;
}

/* (fd, keys, values) -> entries written; both hold as many entries, one after the other; stops at the first error */
EXPORT(map_update)
{
	struct bytes keys, values;
	struct bpf_map_info map;
	struct call call;
	size_t count, size;
	char text[96];
	int fd, error;

	if (!call_begin(&call, env, info, 3))
		return NULL;
	fd = arg_int(&call, 0);
	keys = arg_bytes(&call, 1);
	values = arg_bytes(&call, 2);
	if (call.failed || !info_of(env, fd, &map))
		return NULL;
	size = value_size(&map);
	if (!map.key_size || keys.length % map.key_size || values.length != keys.length / map.key_size * size)
		return throw_range(env, "keys and values have not the sizes of the map's");
	count = keys.length / map.key_size;
	for (size_t i = 0; i < count; i++) {
		error = bpf_map_update_elem(fd, keys.data + i * map.key_size, values.data + i * size, BPF_ANY);
		if (error) {
			snprintf(text, sizeof(text), "%s: update of entry %zu of %zu", map.name, i, count);
			return throw_errno(env, text, error);
		}
	}
	return make_number(env, (double)count);
}

/* (fd, keys) -> entries deleted; absent ones are not an error */
EXPORT(map_delete)
{
	struct bpf_map_info map;
	size_t deleted = 0;
	struct bytes keys;
	struct call call;
	int fd, error;

	if (!call_begin(&call, env, info, 2))
		return NULL;
	fd = arg_int(&call, 0);
	keys = arg_bytes(&call, 1);
	if (call.failed || !info_of(env, fd, &map))
		return NULL;
	if (!map.key_size || keys.length % map.key_size)
		return throw_range(env, "keys have not the size of the map's");
	for (size_t at = 0; at < keys.length; at += map.key_size) {
		error = bpf_map_delete_elem(fd, keys.data + at);
		if (error && error != -ENOENT)
			return throw_errno(env, map.name, error);
		deleted += !error;
	}
	return make_number(env, (double)deleted);
}

/* (fd) -> whether there is an entry; for maps whose values cannot be read, too */
EXPORT(map_holds)
{
	struct bpf_map_info map;
	napi_value result = NULL;
	struct call call;
	uint8_t *key;
	int fd;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	fd = arg_int(&call, 0);
	if (call.failed || !info_of(env, fd, &map))
		return NULL;
	key = malloc(map.key_size);
	if (!key)
		return throw_errno(env, "map holds", ENOMEM);
	napi_get_boolean(env, !bpf_map_get_next_key(fd, NULL, key), &result);
	free(key);
	return result;
}

/*
 * (fd) -> Buffer of (key, value) pairs. Entries that come and go meanwhile may be in it or not; an entry that is deleted
 * under the walk makes the kernel start again, so the reader keys the pairs rather than count them.
 */
EXPORT(map_dump)
{
	size_t used = 0, room = 0, size, pair, previous = SIZE_MAX;
	struct bpf_map_info map;
	napi_value result = NULL;
	uint8_t *pairs = NULL;
	struct call call;
	int fd;

	if (!call_begin(&call, env, info, 1))
		return NULL;
	fd = arg_int(&call, 0);
	if (call.failed || !info_of(env, fd, &map))
		return NULL;
	size = value_size(&map);
	pair = map.key_size + size;
	/* Bounded by max_entries: a map that is written meanwhile cannot keep us here. */
	for (uint32_t i = 0; i < map.max_entries; i++) {
		if (used + pair > room) {
			uint8_t *grown;

			room = room ? room * 2 : pair * 256;
			grown = realloc(pairs, room);
			if (!grown) {
				free(pairs);
				return throw_errno(env, "map dump", ENOMEM);
			}
			pairs = grown;
		}
		if (bpf_map_get_next_key(fd, previous == SIZE_MAX ? NULL : pairs + previous, pairs + used))
			break;
		previous = used;
		if (!bpf_map_lookup_elem(fd, pairs + used, pairs + used + map.key_size))
			used += pair;
	}
	napi_create_buffer_copy(env, used, pairs, NULL, &result);
	free(pairs);
	return result;
}
