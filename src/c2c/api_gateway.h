/* Starting the device's gateway from a program that needs it. Plain C. */
#pragma once

/* 0 once it listens; -1 with *why (may be NULL) and errno. */
int gateway_start(char **why);
