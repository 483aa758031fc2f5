/* Rust's mangled names (RFC 2603, "v0"), looked through before libiberty's demangler is let at them: it
 * counts the lifetimes that a binder has, which are a number of any size in the name, one by one, and where
 * it prints nothing meanwhile nobody could stop it. */
#pragma once

#include <glib.h>

#define SYMBOLS_RUST_LIFETIMES_MAX 16 /* of one binder */

/* Whether `mangled` ("_R...") is such a name, as far as the demangler can tell, and no binder in it, or in
 * anything that it refers back to, has more lifetimes. */
gboolean symbols_rust_is_bounded(const char *mangled);
