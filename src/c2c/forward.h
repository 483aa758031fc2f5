/* TCP connections through the network of clones: what connects to a port of this device's is joined to a port
 * that a friend's device offers ("forward:PORT"), by way of both clones. */
#pragma once

#include <glib.h>

#define FORWARD_MAX     128 /* connections at a time: the next waits */
#define FORWARD_SERVICE "forward:"

typedef enum {
  FORWARD_READY, /* also again, after LOST */
  FORWARD_OPENED,
  FORWARD_FAILED,
  FORWARD_CLOSED,
  FORWARD_LOST, /* nobody can come for now */
} ForwardEventKind;
typedef struct {
  ForwardEventKind kind;
  guint64 connection; /* 1...; 0: none, of READY and LOST */
  const char *peer;   /* READY, LOST: where it listens; else who has connected, for people */
  const char *words;  /* FAILED, LOST: why; CLOSED: what has ended it, NULL: both ends have */
  guint64 sent, received;
} ForwardEvent;

/* Called from several threads, never at the same time. */
typedef void (*ForwardTold)(const ForwardEvent *event, void *data);

/* Listens at `host` and `port` ("0": any that is free) for connections to `far_port` of `user`'s device.
 * Returns only FALSE, with an error. */
gboolean forward_out(const char *host, const char *port, const char *user, const char *far_port,
                     ForwardTold told, void *data, GError **error);

/* Offers `port`: each stream is joined to a connection to `host` and `host_port`. What is lost, since the
 * clone is away or the gateway has ended, is offered again. Returns only FALSE, with an error: what could not
 * be offered at first. */
gboolean forward_in(const char *port, const char *host, const char *host_port, ForwardTold told, void *data,
                    GError **error);
