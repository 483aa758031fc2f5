#pragma once

#include "c2c/local_frame.h"
#include "c2c/local_question.h"
#include "c2c/relay.h"

typedef struct {
  Mux *mux;
  GMainContext *context;
  GMainLoop *loop;
  GSource *control;
  int control_fd;
  const char *node;
  guint streams;
  GPtrArray *asking; /* of RelayStream */
} Relay;

/* What is common to the streams: the device has asked for something, which the node is asked for. */
typedef struct {
  Relay *relay;
  MuxStream *stream;
  LocalQuestion *question;
  GBytes *request; /* not asked yet: the node does not run */
  GSource *again;  /* when it is tried again */
  guint tries;
  LocalAnswered on_answered;
  char *service;
  GByteArray *in, *out;
  gboolean accepted, answered;
} RelayStream;

RelayStream *relay_stream_new(Relay *relay, MuxStream *stream, const char *service);

/* Gives up what the node was asked. What becomes of the stream is the caller's business before. */
void relay_stream_free(RelayStream *on);

/* Asks the node, which may be just starting; where it does not run for too long the stream is refused or
 * reset, and `on` freed. */
void relay_ask(RelayStream *on, const LocalRequest *request, LocalAnswered answered);

/* Refuses or resets the stream, whichever it takes, and frees `on`. */
void relay_stream_fail(RelayStream *on, Doppel__Wire__C2cRefusal why, const char *words);

/* The services of the clone that are the relay's own (c2c/local_frame.h). */
void relay_control(RelayStream *on);
void relay_listen(RelayStream *on);
