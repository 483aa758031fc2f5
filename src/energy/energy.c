#include "energy/energy.h"

/* Traffic without a pause: pieces that overlap. */
typedef struct {
  double start, end;
  double bytes;
} Stretch;

/* Seconds in which the radio was not asleep go beside the joules. */
typedef struct {
  const EnergyRadio *radio;
  EnergyEstimate *to;
  double awake;
} Radio;

static void
ramp(Radio *at, const EnergyWaiting *from)
{
  at->to->ramp += from->ramp_w * from->ramp_s;
  at->awake += from->ramp_s;
}

/* The tails of a pause, which traffic ends after `pause` seconds, and the way back out of it. */
static void
pass_pause(Radio *at, double pause)
{
  for (guint i = 0; i < at->radio->tail_count; i++) {
    const EnergyWaiting *tail = &at->radio->tails[i];
    double lasts = MIN(tail->s, pause);
    at->to->tail += tail->w * lasts;
    at->awake += lasts;
    if (pause < tail->s) {
      ramp(at, tail);
      return;
    }
    pause -= tail->s;
  }
  ramp(at, &at->radio->idle);
}

static void
pass_last_tails(Radio *at)
{
  for (guint i = 0; i < at->radio->tail_count; i++) {
    at->to->tail += at->radio->tails[i].w * at->radio->tails[i].s;
    at->awake += at->radio->tails[i].s;
  }
}

static void
pass_traffic(Radio *at, const Stretch *stretch)
{
  at->to->traffic += at->radio->active_w * (stretch->end - stretch->start);
  at->awake += stretch->end - stretch->start;
}

/* As long as its bytes need on the air, if it was shorter. */
static void
lengthen(Stretch *stretch, const EnergyRadio *radio)
{
  if (radio->air_rate > 0)
    stretch->end = MAX(stretch->end, stretch->start + stretch->bytes / radio->air_rate);
}

static void
estimate_traffic(Radio *at, const EnergyWork *work)
{
  Stretch stretch = {0};
  for (guint i = 0; i < work->burst_count; i++) {
    const EnergyBurst *burst = &work->bursts[i];
    g_assert(burst->end >= burst->start && (i == 0 || burst->start >= burst[-1].start));
    at->to->traffic += at->radio->up_j * burst->up + at->radio->down_j * burst->down;
    if (i == 0 || burst->start > stretch.end) {
      if (i == 0)
        ramp(at, &at->radio->idle);
      else {
        pass_traffic(at, &stretch);
        pass_pause(at, burst->start - stretch.end);
      }
      stretch = (Stretch){burst->start, burst->end, 0};
    }
    stretch.end = MAX(stretch.end, burst->end);
    stretch.bytes += (double)burst->up + burst->down;
    lengthen(&stretch, at->radio);
  }
  if (work->burst_count > 0) {
    pass_traffic(at, &stretch);
    pass_last_tails(at);
  }
}

EnergyEstimate
energy_estimate(const EnergyModel *model, const EnergyWork *work)
{
  EnergyEstimate to = {0};
  to.waiting_known = model->idle_w >= 0;
  to.processor = model->busy_w * work->processor_s;
  to.waiting = to.waiting_known ? model->idle_w * work->seconds : 0;
  Radio radio = {model->radios[work->radio], &to, 0};
  to.radio_known = radio.radio != NULL;
  if (radio.radio) {
    estimate_traffic(&radio, work);
    to.asleep = radio.radio->idle.w * MAX(0, work->seconds - radio.awake);
  }
  to.radio = to.ramp + to.traffic + to.tail + to.asleep;
  to.total = to.processor + to.waiting + to.radio;
  return to;
}
