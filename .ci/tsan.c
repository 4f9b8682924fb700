// What ThreadSanitizer has to be told of the standard library, which was compiled without it.
//
// Linked into the tests by `.ci/tsan`; the linker's `--wrap` sends calls of X to `__wrap_X`. Generic
// and inlined functions of the standard library are compiled with the tests, so ThreadSanitizer sees them. It
// does not see three things, and reports races that are none. Telling it is exact, where suppressing such
// reports could hide others.

#include <stdatomic.h>
#include <stdint.h>

#define JOINED(prefix, name) prefix##name
#define WRAP(name) JOINED(__wrap_, name)
#define REAL(name) JOINED(__real_, name)

void __tsan_acquire(void *address);
void __tsan_release(void *address);

// The acquire fence of `Arc`, after the count has been decremented to zero: ThreadSanitizer knows no fences. So
// each decrement acquires by itself. (Nothing but counts of references is a 64-bit atomic that is subtracted from.)
uint64_t REAL(__tsan_atomic64_fetch_sub)(volatile uint64_t *count, uint64_t by, int order);

uint64_t WRAP(__tsan_atomic64_fetch_sub)(volatile uint64_t *count, uint64_t by, int order) {
    (void)order;
    return REAL(__tsan_atomic64_fetch_sub)(count, by, memory_order_acq_rel);
}

// The paths of `Mutex::lock`, `RwLock::read` and `RwLock::write` for a lock that is taken: they are in the compiled
// library. The word that an unlock releases is the first one of each.
#define ACQUIRES(contended)                                                                                            \
    void REAL(contended)(void *lock);                                                                                  \
    void WRAP(contended)(void *lock) {                                                                                 \
        REAL(contended)(lock);                                                                                         \
        __tsan_acquire(lock);                                                                                          \
    }

ACQUIRES(LOCK_CONTENDED)
ACQUIRES(READ_CONTENDED)
ACQUIRES(WRITE_CONTENDED)

// `Condvar::wait`, which unlocks the mutex and locks it again in the compiled library.
void REAL(CONDVAR_WAIT)(void *condvar, void *lock);

void WRAP(CONDVAR_WAIT)(void *condvar, void *lock) {
    __tsan_release(lock);
    REAL(CONDVAR_WAIT)(condvar, lock);
    __tsan_acquire(lock);
}
