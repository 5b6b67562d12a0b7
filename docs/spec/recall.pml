/* The life of breakable requests on one inode, with everything that may go wrong: two holders with mappings of the
 * image, two operations that would change the map (breakers), deadlines, interruption, death of a holder, death of the
 * daemon, release of quarantine and reuse of blocks. Decisions 0006 and 0007 say it in words; scripts/check-spec.sh
 * checks every interleaving.
 *
 * What is atomic here is done under one lock in the daemon: the inode's and the seal table's for judging, granting and
 * changing, the parked list's for parking and waking. Everything else interleaves.
 *
 * Checked:
 *   - no map change under a holder that was not asked to leave first (assert in Breaker)
 *   - no block is given out again while a holder that could store into it lives (assert in Allocator)
 *   - every breaker is answered exactly once (assert in answer)
 *   - no breaker is parked twice: it waits for those who stood when it came, not for newcomers (assert in Breaker)
 *   - no lost wake-up: a parked breaker nobody will ever wake is a deadlock, which Spin reports
 *
 * Each can fail: the script checks that these break one, PARK_BLINDLY, LOSE_WAKE_UP, CHANGE_UNASKED, FREE_AT_ONCE,
 * FORGET_LEASES, LEASE_AFTER_GRANT, GRANT_DURING_RECALL (see there which).
 */

mtype = { none, standing, recalled };
/* Requests, by holder. */
mtype request[2] = none;
/* The holder's lock on the image, which lives as long as it may store into the block it was told of. */
bool leased[2] = false;
/* The generation of the map whose block the holder may reach, 0 none. */
byte reaches[2] = 0;
/* Its request was taken away at a deadline: whatever it does from then on must harm nobody. */
bool fenced[2] = false;

/* The file has one block, named by the generation of the map; a change puts the next one in its place. */
byte generation = 1;
mtype = { inFile, quarantined, free, reused };
mtype block[4] = inFile;

/* Mounts so far. A request of an earlier one is answered by the kernel. */
byte mount = 1;
/* The mount found locks from before: the map stays as it is until they are gone. */
bool frozen = false;

/* Ends of recalls so far: who comes late to park knows by it. */
byte ends = 0;
bool parked[2] = false;
bool woken[2] = false;
byte answers[2] = 0;
byte holdersLeft = 2;
byte breakersLeft = 2;

#define recalling (request[0] == recalled || request[1] == recalled)
#define anyStands (request[0] != none || request[1] != none)
#define anyLeased (leased[0] || leased[1])
#define unaware(h) (leased[h] && reaches[h] == generation && !fenced[h])

#ifdef PARK_BLINDLY
#define nothingEndedSince(seen) true
#else
#define nothingEndedSince(seen) (ends == seen)
#endif

#ifdef GRANT_DURING_RECALL
#define mayGrant (!frozen)
#else
/* Not before those woken have had their turn, or a breaker could find a new holder each time. */
#define mayGrant (!frozen && !recalling && !woken[0] && !woken[1])
#endif

inline wake(b) {
  /* Whoever takes an entry off the list answers for it: here by beginning it again. */
  if :: parked[b] -> parked[b] = false; woken[b] = true :: else fi
}

/* Within an atomic step: the request leaves the table. */
inline leave(h) {
  if
  :: request[h] == recalled ->
    request[h] = none;
    if
    :: !recalling ->
      ends++;
#ifndef LOSE_WAKE_UP
      wake(0);
      wake(1)
#endif
    :: else
    fi
  :: else -> request[h] = none
  fi
}

/* The holder unmaps, or the kernel does it for a dead one: nothing of the block is reachable, then the lock goes. */
inline letGo(h) {
  reaches[h] = 0;
  leased[h] = false;
  fenced[h] = false
}

inline answer(b) {
  answers[b]++;
  assert(answers[b] == 1)
}

proctype Holder(byte h) {
  /* Two grants for one of them, so that a new one may meet an old recall; one for the other keeps this under a minute. */
  byte tries = 2 - h;
  do
  :: tries > 0 && request[h] == none && reaches[h] == 0 ->
    /* First the lock, then the request, whose grant tells the block (decision 7). */
    tries--;
#ifndef LEASE_AFTER_GRANT
    leased[h] = true;
#endif
    atomic {
      if
      :: mayGrant -> request[h] = standing; reaches[h] = generation
      :: else -> leased[h] = false
      fi
    };
#ifdef LEASE_AFTER_GRANT
    if :: reaches[h] > 0 -> leased[h] = true :: else fi
#endif
  /* Lets go and releases, asked or not, by an ioctl that waits for nothing a breaker holds. */
  :: request[h] != none || reaches[h] > 0 ->
    letGo(h);
    atomic { if :: request[h] != none -> leave(h) :: else fi }
  /* Dies: the kernel drops the mappings, then RELEASE reaches the daemon. */
  :: letGo(h);
    atomic { if :: request[h] != none -> leave(h) :: else fi };
    break
  od;
  holdersLeft--
}

proctype Breaker(byte b) {
  byte seen;
  byte mine;
  bool wasParked = false;
  /* A signal may come, but nobody may rely on it: one of the two can only be woken. */
  bool mayBeInterrupted = (b == 1);
  /* It may begin after the daemon's death as well. */
  mine = mount;
again:
  atomic {
    woken[b] = false;
    if
    :: mount != mine -> answer(b); goto done
    :: mount == mine && frozen -> answer(b); goto done
#ifdef CHANGE_UNASKED
    :: mount == mine && !frozen ->
#else
    :: mount == mine && !frozen && anyStands ->
      /* Judged: begin the recall, or join it, and leave all locks. */
      if :: request[0] == standing -> request[0] = recalled :: else fi;
      if :: request[1] == standing -> request[1] = recalled :: else fi;
      seen = ends
    :: mount == mine && !frozen && !anyStands ->
#endif
      assert(!unaware(0) && !unaware(1));
      block[generation] = quarantined;
      generation++;
      answer(b);
      goto done
    fi
  }
  /* Between the look and parking anything may happen. */
  atomic {
    if
    :: mount != mine -> answer(b); goto done
    :: mount == mine && nothingEndedSince(seen) ->
      assert(!wasParked);
      wasParked = true;
      parked[b] = true
    :: mount == mine && !nothingEndedSince(seen) -> goto again
    fi
  }
  if
  :: woken[b] -> goto again
  /* A signal: whoever takes the entry off the list answers, EINTR here. */
  :: atomic { mayBeInterrupted && parked[b] -> parked[b] = false; answer(b) }
  /* The daemon died: ECONNABORTED. */
  :: atomic { mount != mine -> parked[b] = false; woken[b] = false; answer(b) }
  fi;
done:
  breakersLeft--
}

/* Whoever was recalled and has not let go is fenced. */
proctype Deadline() {
  do
  :: atomic { request[0] == recalled -> fenced[0] = true; leave(0) }
  :: atomic { request[1] == recalled -> fenced[1] = true; leave(1) }
  :: breakersLeft == 0 && !recalling -> break
  od
}

/* Quarantine becomes free space, free space somebody else's. */
proctype Allocator() {
  byte g = 1;
  do
#ifdef FREE_AT_ONCE
  :: atomic { g < generation && block[g] == quarantined -> block[g] = free }
#else
  :: atomic { g < generation && block[g] == quarantined && !anyLeased -> block[g] = free }
#endif
  :: atomic {
      g < generation && block[g] == free ->
      block[g] = reused;
      assert(reaches[0] != g && reaches[1] != g);
      g++
    }
  :: breakersLeft == 0 && holdersLeft == 0 && g == generation -> break
  od
}

/* kill -9 of the daemon and the next mount, at any moment, once. Requests and parked list were its memory. */
proctype Daemon() {
  if
  :: atomic {
      request[0] = none;
      request[1] = none;
      parked[0] = false;
      parked[1] = false;
      woken[0] = false;
      woken[1] = false;
      mount++;
#ifndef FORGET_LEASES
      frozen = anyLeased
#endif
    };
    do
    :: atomic { frozen && !anyLeased -> frozen = false }
    :: !frozen -> break
    od
  :: skip
  fi
}

init {
  atomic {
    run Holder(0);
    run Holder(1);
    run Breaker(0);
    run Breaker(1);
    run Deadline();
    run Allocator();
    run Daemon()
  }
}
