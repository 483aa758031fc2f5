/* A network by chance, in steps of simulated time: for tests. What is sent over a link comes late, and in its
 * order. A link may stall for long, and may be cut: then some of what is on the way still comes, the rest
 * never, and each end notices at a time of its own, or opens another link before it does. */
#pragma once

#include <glib.h>

typedef enum {
  SIM_OPENED, /* the other end has opened it */
  SIM_MESSAGE,
  SIM_GONE,
} SimWhat;

typedef struct {
  GQueue coming; /* of SimMessage */
  guint64 last_due, gone_at;
  gboolean closed; /* hears nothing more */
} SimEnd;

typedef struct {
  guint kind, who; /* the world's */
  guint64 next;
  SimEnd ends[2]; /* 0 has opened it */
  gboolean dead;  /* nothing that is sent any more arrives */
} SimLink;

typedef void (*SimHear)(gpointer world, SimLink *link, guint end, SimWhat what, GBytes *message);
typedef void (*SimPost)(gpointer world, guint to, GBytes *message);

typedef struct {
  GRand *rand;
  guint64 now;
  GPtrArray *links;
  GQueue posts; /* single messages, which come in any order or never */
  SimHear hear;
  SimPost post;
  gpointer world;
} SimNet;

void sim_net_init(SimNet *net, GRand *rand, SimHear hear, SimPost post, gpointer world);
void sim_net_clear(SimNet *net);
gboolean sim_chance(SimNet *net, guint one_in);
guint sim_pick(SimNet *net, guint below);

/* Lets a step of time pass. */
void sim_net_step(SimNet *net);
gboolean sim_net_is_quiet(const SimNet *net);

SimLink *sim_link_open(SimNet *net, guint kind, guint who);
void sim_link_send(SimNet *net, SimLink *link, guint end, GBytes *message);
void sim_link_cut(SimNet *net, SimLink *link);
void sim_link_stall(SimNet *net, SimLink *link, guint steps);
/* That end is done with it, and hears no more of it; the other one notices some time. */
void sim_link_close(SimNet *net, SimLink *link, guint end);
/* All that is on the way to that end comes now. */
void sim_link_flush(SimNet *net, SimLink *link, guint end);

void sim_post(SimNet *net, guint to, GBytes *message);
