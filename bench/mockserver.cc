// A mock of an OpenAI-compatible chat endpoint that is faster than its clients: one thread, epoll,
// 15 to 20 us of CPU per call of 2 KB. It speaks as much HTTP/1.1 as the contestants do: keep-alive
// and Content-Length, no chunks.
//
//   POST /v1/chat/completions   answers after the set latency; "ROW#<n>#" in the body names the row
//   POST /set?key=value&...     changes the settings, clears the statistics, starts the draws anew
//   GET  /stats                 the statistics, as JSON
//
// Settings: `latency_ms` of every call; `slow_percent` of the calls take `slow_ms` instead. Which
// ones is drawn from a fixed seed: the n-th call after /set is slow for every contestant alike.
//
// usage: mockserver PORT   (0: any free port; "listening on PORT" is printed once it is ready)

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

struct Settings {
  double latency_ms = 0;
  double slow_percent = 0;
  double slow_ms = 0;
};

struct Statistics {
  uint64_t calls = 0;
  uint64_t in_flight = 0;
  uint64_t max_in_flight = 0;
  double first_call_ms = 0;
  double last_answer_ms = 0;
  std::unordered_set<uint64_t> rows;
};

struct Connection {
  int fd;
  uint32_t generation;  // tells a connection from a later one with the same descriptor
  bool busy = false;    // a call waits for its latency to pass
  size_t wanted = 0;    // bytes of the request that is still incomplete, once known
  size_t sent = 0;
  std::string in;
  std::string out;
};

struct Answer {
  double due_ms;
  int fd;
  uint32_t generation;
  std::string text;
  bool operator<(const Answer& other) const { return due_ms > other.due_ms; }
};

struct HttpRequest {
  std::string_view method;
  std::string_view path;
  std::string_view body;
};

constexpr uint64_t SEED = 88172645463325252ull;
constexpr size_t ANSWER_LENGTH = 400;
constexpr size_t MOST_CONNECTIONS = 65536;
constexpr size_t LONGEST_HEAD = 65536;

static Settings settings;
static Statistics statistics;
static std::vector<std::unique_ptr<Connection>> connections(MOST_CONNECTIONS);
static std::priority_queue<Answer> answers;
static std::string filler;
static uint64_t random_state = SEED;
static uint32_t next_generation = 1;
static int poll_fd = -1;

static double now_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

// xorshift64, uniform in [0, 1)
static double draw() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (random_state >> 11) * (1.0 / 9007199254740992.0);
}

static std::string response(const char* status, const std::string& body) {
  std::string text = "HTTP/1.1 ";
  text.reserve(128 + body.size());
  text += status;
  text += "\r\nServer: mock\r\nContent-Type: application/json\r\nContent-Length: ";
  text += std::to_string(body.size());
  text += "\r\n\r\n";
  return text += body;
}

static std::string completion(uint64_t row, size_t request_size) {
  std::string prompt_tokens = std::to_string(request_size > 20000 ? 1000 : request_size / 4);
  return "{\"id\":\"chatcmpl-" + std::to_string(statistics.calls) +
         "\",\"object\":\"chat.completion\",\"created\":" + std::to_string(time(nullptr)) +
         ",\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
         "\"content\":\"Answer to ROW#" + std::to_string(row) + "#: " + filler +
         "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{"
         "\"prompt_tokens\":" + prompt_tokens + ",\"completion_tokens\":100,\"total_tokens\":" +
         prompt_tokens + "},\"system_fingerprint\":\"fp_mock\"}";
}

static std::string statistics_as_json() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double cpu_s = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
                 (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  char text[300];
  snprintf(text, sizeof text,
           "{\"calls\":%llu,\"rows\":%zu,\"max_in_flight\":%llu,\"span_s\":%.4f,\"cpu_s\":%.3f}",
           (unsigned long long)statistics.calls, statistics.rows.size(),
           (unsigned long long)statistics.max_in_flight,
           (statistics.last_answer_ms - statistics.first_call_ms) / 1e3, cpu_s);
  return text;
}

static void set(std::string_view query) {
  settings = Settings();
  while (!query.empty()) {
    std::string pair(query.substr(0, query.find('&')));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    size_t equals = pair.find('=');
    if (equals == std::string::npos) continue;
    double value = atof(pair.c_str() + equals + 1);
    pair.resize(equals);
    if (pair == "latency_ms") settings.latency_ms = value;
    if (pair == "slow_percent") settings.slow_percent = value;
    if (pair == "slow_ms") settings.slow_ms = value;
  }
  uint64_t in_flight = statistics.in_flight;
  statistics = Statistics();
  statistics.in_flight = in_flight;
  random_state = SEED;
}

static void close_connection(Connection* connection) {
  if (connection->busy) statistics.in_flight--;
  int fd = connection->fd;
  epoll_ctl(poll_fd, EPOLL_CTL_DEL, fd, nullptr);
  close(fd);
  connections[fd].reset();
}

static void watch(int operation, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(poll_fd, operation, fd, &event);
}

// Sends what can be sent now; false where the connection is broken.
static bool flush(Connection* connection) {
  std::string& out = connection->out;
  while (connection->sent < out.size()) {
    const char* rest = out.data() + connection->sent;
    ssize_t size = send(connection->fd, rest, out.size() - connection->sent, MSG_NOSIGNAL);
    if (size < 0) {
      if (errno != EAGAIN) return false;
      watch(EPOLL_CTL_MOD, connection->fd, EPOLLIN | EPOLLOUT);
      return true;
    }
    connection->sent += size;
  }
  out.clear();
  connection->sent = 0;
  return true;
}

static void chat(Connection* connection, std::string_view body) {
  double now = now_ms();
  if (!statistics.calls++) statistics.first_call_ms = now;
  statistics.last_answer_ms = now;
  uint64_t row = ~0ull;
  if (void* found = memmem(body.data(), body.size(), "ROW#", 4)) {
    row = strtoull(static_cast<char*>(found) + 4, nullptr, 10);
  }
  statistics.rows.insert(row);
  statistics.max_in_flight = std::max(statistics.max_in_flight, statistics.in_flight + 1);

  bool slow = settings.slow_percent > 0 && draw() * 100 < settings.slow_percent;
  double latency = slow ? settings.slow_ms : settings.latency_ms;
  std::string text = response("200 OK", completion(row, body.size()));
  if (latency <= 0) {
    connection->out += text;
    return;
  }
  statistics.in_flight++;
  connection->busy = true;
  answers.push({now + latency, connection->fd, connection->generation, std::move(text)});
}

static void respond(Connection* connection, const HttpRequest& request) {
  if (request.path == "/v1/chat/completions") {
    chat(connection, request.body);
  } else if (request.path == "/stats") {
    connection->out += response("200 OK", statistics_as_json());
  } else if (request.path.substr(0, 5) == "/set?") {
    set(request.path.substr(5));
    connection->out += response("200 OK", "{}");
  } else {
    connection->out += response("404 Not Found", "{\"error\":{\"message\":\"not found\"}}");
  }
}

static size_t content_length(const std::string& in, size_t head_end) {
  constexpr const char* NAME = "content-length:";
  for (size_t at = in.find("\r\n") + 2; at < head_end; at = in.find("\r\n", at) + 2) {
    if (!strncasecmp(in.data() + at, NAME, strlen(NAME))) {
      return strtoull(in.data() + at + strlen(NAME), nullptr, 10);
    }
  }
  return 0;
}

// Answers the complete requests among what has come; false where it cannot be HTTP.
static bool consume(Connection* connection) {
  std::string& in = connection->in;
  while (!connection->busy && !in.empty() && in.size() >= connection->wanted) {
    size_t head_end = in.find("\r\n\r\n");
    if (head_end == std::string::npos) return in.size() < LONGEST_HEAD;
    size_t size = head_end + 4 + content_length(in, head_end);
    if (in.size() < size) {
      connection->wanted = size;
      in.reserve(size);
      return true;
    }
    std::string_view text(in);
    size_t method_end = text.find(' ');
    size_t path_end = text.find(' ', method_end + 1);
    if (path_end == std::string_view::npos) return false;
    respond(connection, {text.substr(0, method_end),
                         text.substr(method_end + 1, path_end - method_end - 1),
                         text.substr(head_end + 4, size - head_end - 4)});
    in.erase(0, size);
    connection->wanted = 0;
  }
  return true;
}

// Reads all there is; false at the end of the stream.
static bool receive(Connection* connection) {
  static std::vector<char> buffer(1 << 18);
  while (true) {
    ssize_t size = recv(connection->fd, buffer.data(), buffer.size(), 0);
    if (size <= 0) return size < 0 && errno == EAGAIN;
    connection->in.append(buffer.data(), size);
    if (size < static_cast<ssize_t>(buffer.size())) return true;
  }
}

static void accept_all(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0) {
    if (fd >= static_cast<int>(MOST_CONNECTIONS)) {
      close(fd);
      continue;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connections[fd] = std::make_unique<Connection>();
    connections[fd]->fd = fd;
    connections[fd]->generation = next_generation++;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

static void handle(const epoll_event& event) {
  Connection* connection = connections[event.data.fd].get();
  if (!connection) return;
  bool alive = true;
  if (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    alive = receive(connection) && consume(connection);
  }
  alive = alive && flush(connection);
  if (!alive) {
    close_connection(connection);
  } else if ((event.events & EPOLLOUT) && connection->out.empty()) {
    watch(EPOLL_CTL_MOD, connection->fd, EPOLLIN);
  }
}

static void send_due_answers() {
  double now = now_ms();
  while (!answers.empty() && answers.top().due_ms <= now) {
    Answer answer = answers.top();
    answers.pop();
    Connection* connection = connections[answer.fd].get();
    if (!connection || connection->generation != answer.generation) continue;
    connection->out += answer.text;
    connection->busy = false;
    statistics.in_flight--;
    statistics.last_answer_ms = now;
    if (!flush(connection) || !consume(connection) || !flush(connection)) {
      close_connection(connection);
    }
  }
}

static int next_wait_ms() {
  if (answers.empty()) return -1;
  double wait = answers.top().due_ms - now_ms();
  return wait <= 0 ? 0 : static_cast<int>(wait) + 1;
}

static int listen_on(int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) || listen(listener, 8192)) {
    perror("mockserver");
    exit(1);
  }
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  printf("listening on %d\n", ntohs(address.sin_port));
  fflush(stdout);
  return listener;
}

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  while (filler.size() < ANSWER_LENGTH) filler += "the quick brown fox jumps over the lazy dog and ";
  filler.resize(ANSWER_LENGTH);

  int listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
  poll_fd = epoll_create1(0);
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  epoll_event events[512];
  while (true) {
    int count = epoll_wait(poll_fd, events, 512, next_wait_ms());
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == listener) {
        accept_all(listener);
      } else {
        handle(events[i]);
      }
    }
    send_due_answers();
  }
}
