/* SPDX-License-Identifier: Apache-2.0 */
/* What the addon's files share. */
#ifndef PILLION_ADDON_H
#define PILLION_ADDON_H

#include <node_api.h>
#include <stddef.h>

#define ARGS_MAX 3

/* Throw and return NULL, so that a function of JavaScript can end with it. */
napi_value throw_errno(napi_env env, const char *operation, int err);
napi_value throw_type(napi_env env, const char *text);
/* False: fewer than `want` arguments. */
int get_args(napi_env env, napi_callback_info info, size_t want, napi_value *argv);

napi_value send_sockets(napi_env env, napi_callback_info info);
napi_value receive_sockets(napi_env env, napi_callback_info info);

#endif
