// Package top shows a pod live on a terminal: what it answers and how fast, what
// waits, how full its memory is, who uses it, and which alerts fire.
//
// Read: top (the program), look (one look at the pod), window (what changed between
// two looks), quantile, view (the screen), bars.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Config says which pod to look at, and how often.
type Config struct {
	URL      string        // of the proxy
	Sidecar  string        // URL of the sidecar, for the alerts; "" asks none
	Key      string        // API key whose tenant's agents are shown; may be ""
	Interval time.Duration // between two looks
	Window   time.Duration // that rates and percentiles look back on
}

// Validate says which setting is wrong.
func (c *Config) Validate() error {
	switch {
	case c.Interval < 100*time.Millisecond || c.Interval > time.Minute:
		return fmt.Errorf("--interval=%v must be from 100ms to 1m", c.Interval)
	case c.Window < c.Interval || c.Window > 10*time.Minute:
		return fmt.Errorf("--window=%v must be from --interval=%v to 10m", c.Window, c.Interval)
	}
	for flag, u := range map[string]string{"url": c.URL, "sidecar-url": c.Sidecar} {
		if u != "" && !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
			return fmt.Errorf("--%s=%s is no address such as http://127.0.0.1:8000", flag, u)
		}
	}
	return nil
}

// Run shows the pod on the terminal until q, ctrl-c, or ctx ends.
func Run(ctx context.Context, cfg Config, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := newClient()
	defer client.CloseIdleConnections()
	m := &screen{cfg: cfg, ctx: ctx, looker: looker{cfg: cfg, client: client}, window: window{span: cfg.Window}, width: 80, height: 24}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out)).Run()
	if errors.Is(err, tea.ErrInterrupted) || errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot show the pod on this terminal: %w", err)
	}
	return nil
}

// Once writes the screen as text, after two looks an interval apart.
func Once(ctx context.Context, cfg Config, out io.Writer) error {
	client := newClient()
	defer client.CloseIdleConnections()
	l, w := looker{cfg: cfg, client: client}, window{span: cfg.Window}
	for i := range 2 {
		one := l.look(ctx)
		if one.err != nil {
			return fmt.Errorf("cannot look at the pod: %w", one.err)
		}
		w.add(one)
		if i == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(cfg.Interval):
			}
		}
	}
	const width, height = 100, 60
	_, err := io.WriteString(out, plain(render(&cfg, &w, nil, width, height))+"\n")
	return err
}

func newClient() *http.Client {
	return &http.Client{Timeout: lookTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}}
}

// screen is the program's state.
type screen struct {
	cfg           Config
	ctx           context.Context
	looker        looker
	window        window
	away          error // why the last look saw nothing
	width, height int
}

// due is the message that it is time for the next look.
type due struct{}

// Init, Update and View make a tea.Model.
func (s *screen) Init() tea.Cmd { return s.look }

func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "Q", "ctrl+c", "esc":
			return s, tea.Quit
		}
	case due:
		return s, s.look
	case *look:
		s.away = msg.err
		if msg.err == nil {
			s.window.add(msg)
		}
		return s, tea.Tick(s.cfg.Interval, func(time.Time) tea.Msg { return due{} })
	}
	return s, nil
}

func (s *screen) View() tea.View {
	v := tea.NewView(render(&s.cfg, &s.window, s.away, s.width, s.height))
	v.AltScreen = true
	v.WindowTitle = "semantic top"
	return v
}

// look is the command that looks at the pod: in a goroutine of the program's, one at a
// time, and within its deadline.
func (s *screen) look() tea.Msg { return s.looker.look(s.ctx) }
