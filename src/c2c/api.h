/* What doppel's own verbs and the clones' services use beside include/doppel/c2c.h. Plain C. */
#pragma once

#include <stddef.h>

#include "doppel/c2c.h"

/* The program that is started as "PROGRAM gateway --background" where no gateway runs; valid as long as it
 * may be used. Without: "doppel", as $PATH has it. */
void c2c_set_program(const char *program);

/* Each reply to a request that is no stream; `more`: others follow. Non-zero ends the wait, as if no more
 * followed (ECANCELED). */
typedef int (*C2cAnswer)(const unsigned char *body, size_t length, int more, void *data);

/* Asks the node `verb` with its message `body`. Waits up to `timeout_ms` (< 0: for ever) for each reply. 0,
 * or -1 with *why and errno as c2c_dial(); ETIMEDOUT. */
int c2c_control(C2c *c2c, const char *verb, const void *body, size_t length, int timeout_ms, C2cAnswer answer,
                void *data, char **why);

/* What a gateway says of an offer beside streams: nobody can come now, for `words`, or somebody can again. */
typedef struct {
  int away;
  char words[512];
} C2cNews;
#define C2C_NEWS (-2)

/* c2c_accept() that returns for news, too: C2C_NEWS with *news. */
int c2c_accept_or_news(C2cListener *listener, C2cPeer *peer, C2cNews *news);

/* Of the device's gateway: where it is served and looked for. The caller's to free(3); NULL with errno. */
char *c2c_gateway_socket(void);
