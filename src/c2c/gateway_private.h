#pragma once

#include "c2c/gateway.h"
#include "c2c/local.h"
#include "c2c/local_frame.h"
#include "c2c/local_message.h"

typedef struct {
  const GatewayConfig *config;
  GMainContext *context;
  GMainLoop *loop;
  LocalServer *server;
  Mux *mux; /* NULL: not connected */
  GSource *source;
  GPtrArray *offers; /* of GatewayOffer */
  GSource *retry;    /* when offers are made again */
  guint retries;
  GSource *ticking; /* looks after the gateway */
  GThread *asking;  /* where the clone is */
  gint64 asked;     /* when that was asked last, g_get_monotonic_time() */
  gint64 away;      /* since when the link is away; 0: it is not */
  guint streams;
  gint64 used; /* when it was used last, g_get_monotonic_time() */
} Gateway;

/* What a program has asked for; local_call_get() gives it. */
typedef struct GatewayCall GatewayCall;
struct GatewayCall {
  Gateway *gateway;
  LocalCall *call;   /* NULL: answered to the end */
  MuxStream *stream; /* NULL: none now */
  void (*gone)(GatewayCall *what);
};

/* Connects if need be. NULL with an error. */
Mux *gateway_mux(Gateway *gateway, GError **error);

/* To be called now and then, more often while it says TRUE: the link is away. */
gboolean gateway_follow(Gateway *gateway);
void gateway_follow_end(Gateway *gateway);

/* Two connected stream sockets. FALSE with an error. */
gboolean gateway_pair(int ends[2], GError **error);

/* local_call_refuse() for an error: AWAY. */
void gateway_refuse(LocalCall *call, const GError *error);

/* The requests. */
void gateway_dial(Gateway *gateway, LocalCall *call, const char *user, const char *service);
void gateway_control(Gateway *gateway, LocalCall *call, const char *verb, const guint8 *body, gsize length);
void gateway_listen(Gateway *gateway, LocalCall *call, const char *service);

/* A stream from the clone. */
void gateway_incoming(Gateway *gateway, MuxStream *stream, const char *service);

/* The link is gone: offers that were made are made again, now or later. */
void gateway_offer_again(Gateway *gateway);
