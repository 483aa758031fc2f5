/* doppel peers: the directories that the clone asks. */
#pragma once

#include <glib.h>

#include "wire/c2c_control.pb-c.h"

/* A table of them, on standard output. */
void peers_directories_print(const Doppel__Wire__ControlPeers *told, gboolean json);

/* Who does not answer, who did what an honest one does not, and what to do: on standard error. */
void peers_directories_warn(const Doppel__Wire__ControlPeers *told);
