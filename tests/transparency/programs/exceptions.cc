/* C++ exceptions that meet a block: caught inside it, thrown through its frame, and one in flight while it
 * runs. */
#include "program.h"

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace shop
{

struct Counter {
  static int alive;
  Counter()
  {
    alive++;
  }
  ~Counter()
  {
    alive--;
  }
};
int Counter::alive;

class Till
{
public:
  __attribute__((noinline)) int add(const std::string &price);
  __attribute__((noinline)) int total() const;

private:
  std::vector<int> prices_;
};

int
Till::add(const std::string &price)
{
  Counter guard;
  prices_.push_back(std::stoi(price)); // throws std::invalid_argument through this frame
  return prices_.back();
}

int
Till::total() const
{
  int sum = 0;
  for (int price : prices_)
    sum += price;
  return sum;
}

} // namespace shop

static void
caught_inside(int round)
{
  try {
    shop::Counter guard;
    throw std::runtime_error("thrown in round " + std::to_string(round));
  } catch (const std::runtime_error &error) {
    printf("caught inside: %s, alive %d\n", error.what(), shop::Counter::alive);
  }
}

static void
throws(int round)
{
  shop::Counter guard;
  if (round % 2 == 0)
    throw std::out_of_range("through the block, round " + std::to_string(round));
  printf("round %d returns\n", round);
}

static void
drive_throws(int rounds)
{
  for (int round = 0; round < rounds; round++)
    try {
      block(round);
    } catch (const std::out_of_range &error) {
      printf("caught outside: %s, alive %d\n", error.what(), shop::Counter::alive);
    }
}

static void
rethrown(int)
{
  try {
    throw;
  } catch (const std::exception &error) {
    printf("in flight: %s\n", error.what());
  }
}

static void
drive_in_flight(int rounds)
{
  for (int round = 0; round < rounds; round++)
    try {
      throw std::logic_error("from the device");
    } catch (...) {
      block(round);
      printf("uncaught %d\n", std::uncaught_exceptions());
    }
}

static void
drive_member(int)
{
  shop::Till till;
  for (const char *price : {"3", "41", "nothing", "7"})
    try {
      printf("added %d\n", till.add(price));
    } catch (const std::invalid_argument &) {
      printf("not a number: %s, alive %d\n", price, shop::Counter::alive);
    }
  printf("total %d\n", till.total());
}

static void
uncaught(int)
{
  std::set_terminate([] {
    printf("terminate called\n");
    fflush(stdout);
    std::_Exit(3);
  });
  throw 42;
}

extern "C" const Case cases[] = {{"inside", nullptr, caught_inside, nullptr, nullptr},
                                 {"through", nullptr, throws, nullptr, drive_throws},
                                 {"in-flight", nullptr, rethrown, nullptr, drive_in_flight},
                                 {"member", nullptr, nullptr, nullptr, drive_member},
                                 {"uncaught", nullptr, uncaught, nullptr, nullptr},
                                 {}};
