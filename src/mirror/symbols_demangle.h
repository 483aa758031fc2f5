/* C++ and Rust names as people write them.
 *
 * The demangler is libiberty's (GCC's own; its file carries the unlimited linking exception). A mangled name
 * of a hundred bytes can stand for gigabytes of text, so the text is bounded here. */
#pragma once

#include <glib.h>

/* "_ZN2ns1C6methodEi" -> "ns::C::method(int)". NULL when `mangled` is no mangled name, or the text would be
 * too long. */
char *symbols_demangle(const char *mangled);

/* The same without parameters and return type: "ns::C::method". Template arguments stay. */
char *symbols_demangle_bare(const char *mangled);

/* `demangled` in the form in which names are compared: no spaces, no ABI tags; with `templates` FALSE also
 * without template arguments. operator<, -> and the like are kept. */
char *symbols_normalise(const char *demangled, gboolean templates);
