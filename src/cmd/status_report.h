/* How doppel status tells what it knows. */
#pragma once

#include <glib.h>

#include "wire/agent.pb-c.h"

/* On standard output. */
void status_report_print(const Doppel__Agent__Report *report, gboolean json);
