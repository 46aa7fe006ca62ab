// Goal: C++ threads: thread, mutex, condition_variable, atomic, future, shared_ptr counts, static initialisers,
// exceptions in several threads at once, thread_local objects with destructors.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

static std::atomic<int> made{0}, destroyed{0}, thrown{0};

struct Counted {
    Counted() { made++; }
    ~Counted() { destroyed++; }
};

static Counted &once() {
    static Counted counted;
    return counted;
}

static thread_local std::string name = "unset";
struct Leaving {
    ~Leaving() { destroyed += 100; }
};
static thread_local Leaving leaving;

static void throw_and_catch(int number) {
    (void)&leaving;
    for (int i = 0; i < 200; i++) {
        try {
            throw std::runtime_error(std::to_string(number * 1000 + i));
        } catch (const std::exception &error) {
            thrown += std::string(error.what()) == std::to_string(number * 1000 + i);
        }
    }
}

int main() {
    const int count = 6;
    std::mutex mutex;
    std::shared_mutex shared;
    std::condition_variable condition;
    int ready = 0;
    auto pointer = std::make_shared<int>(5);
    std::vector<std::thread> threads;
    for (int n = 0; n < count; n++) {
        threads.emplace_back([&, n] {
            name = std::to_string(n);
            once();
            for (int i = 0; i < 20000; i++) {
                std::shared_ptr<int> copy = pointer;
                if (*copy != 5) thrown -= 1000;
            }
            throw_and_catch(n);
            std::ostringstream text;
            for (int i = 0; i < 200; i++) text << i << ' ';
            CHECK(text.str().size() == 690 && name == std::to_string(n));
            std::shared_lock<std::shared_mutex> reading(shared);
            std::unique_lock<std::mutex> lock(mutex);
            ready++;
            condition.notify_all();
        });
    }
    {
        std::unique_lock<std::mutex> lock(mutex);
        condition.wait(lock, [&] { return ready == count; });
        CHECK(!condition.wait_for(lock, std::chrono::milliseconds(5), [&] { return ready > count; }));
    }
    for (auto &thread : threads) thread.join();
    CHECK(made == 1 && thrown == count * 200 && pointer.use_count() == 1 && name == "unset");
    CHECK(destroyed == count * 100);
    auto future = std::async(std::launch::async, [] { return 42; });
    CHECK(future.get() == 42);
    std::promise<int> promise;
    std::thread breaking([&] { promise.set_exception(std::make_exception_ptr(std::logic_error("no"))); });
    try {
        (void)promise.get_future().get();
        CHECK(false);
    } catch (const std::logic_error &) {
    }
    breaking.join();
    CHECK(std::thread::hardware_concurrency() >= 1);
    int sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(4)
    for (int i = 0; i < 100; i++) {
        try {
            if (i % 10 == 0) throw i;
            sum += 1;
        } catch (int value) {
            sum += value == i ? 2 : 1000;
        }
    }
    CHECK(sum == 110);
    return finish("threads_cpp");
}
