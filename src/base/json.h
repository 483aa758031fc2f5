/* Text as JSON has it (RFC 8259). */
#pragma once

#include <glib.h>

/* The text as a string, quoted. Bytes that are no UTF-8 are shown by replacement characters. */
void json_append_string(GString *json, const char *text);
