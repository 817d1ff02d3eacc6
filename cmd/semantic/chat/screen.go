package chat

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

const maxLine = 64 << 10 // bytes that a person may write at once

// Run talks on a terminal until the person ends it or ctx does.
func Run(ctx context.Context, cfg Config, in, out *os.File) error {
	s := &screen{ctx: ctx, talk: &talk{cfg: cfg}}
	p := tea.NewProgram(s, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out))
	s.send = p.Send
	_, err := p.Run()
	if s.cancel != nil {
		s.cancel()
	}
	s.answering.Wait()
	if errors.Is(err, tea.ErrInterrupted) || errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// piece and ended are what comes of an answer.
type (
	piece string
	ended struct{ err error }
)

// screen is the line that is written, and the answer that comes.
type screen struct {
	ctx       context.Context
	talk      *talk
	send      func(tea.Msg)
	answering sync.WaitGroup
	cancel    context.CancelFunc // of the answer that comes; nil without one

	due    bool // the line is to be said when the answer has ended
	line   []rune
	at     int // the cursor, in runes
	said   []string
	back   int // how far up in said
	answer strings.Builder
	width  int
}

// firstFrame is well over the time until the terminal's first frame. What is printed before it
// goes to the window's top, and the frame clears it away.
const firstFrame = 150 * time.Millisecond

// drawn says that the first frame stands.
type drawn struct{}

func (s *screen) Init() tea.Cmd {
	return tea.Tick(firstFrame, func(time.Time) tea.Msg { return drawn{} })
}

func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		s.width = m.Width
	case drawn:
		return s, tea.Println(help)
	case piece:
		s.answer.WriteString(string(m))
	case ended:
		s.cancel = nil
		text := s.answer.String()
		s.answer.Reset()
		if m.err != nil {
			text = strings.TrimSpace(text + "\n[" + m.err.Error() + "]")
		}
		if !s.due {
			return s, tea.Println(text)
		}
		return s, tea.Sequence(tea.Println(text), s.enter())
	case tea.PasteMsg:
		s.insert(strings.ReplaceAll(m.Content, "\n", " "))
	case tea.KeyPressMsg:
		return s, s.press(m)
	}
	return s, nil
}

// press does what a key means.
func (s *screen) press(k tea.KeyPressMsg) tea.Cmd {
	s.due = false // the line may be another one then
	switch k.String() {
	case "ctrl+d":
		if len(s.line) == 0 {
			return tea.Quit
		}
	case "ctrl+c":
		if s.cancel == nil {
			return tea.Quit
		}
		s.cancel()
	case "enter":
		return s.enter()
	case "backspace":
		if s.at > 0 {
			s.line = append(s.line[:s.at-1], s.line[s.at:]...)
			s.at--
		}
	case "left", "ctrl+b":
		s.at = max(0, s.at-1)
	case "right", "ctrl+f":
		s.at = min(len(s.line), s.at+1)
	case "home", "ctrl+a":
		s.at = 0
	case "end", "ctrl+e":
		s.at = len(s.line)
	case "ctrl+u":
		s.line, s.at = nil, 0
	case "up":
		s.recall(s.back + 1)
	case "down":
		s.recall(s.back - 1)
	default:
		s.insert(k.Text)
	}
	return nil
}

func (s *screen) insert(text string) {
	add := []rune(plain(text))
	if len(s.line)+len(add) > maxLine/utf8.UTFMax {
		return
	}
	s.line = append(s.line[:s.at:s.at], append(add, s.line[s.at:]...)...)
	s.at += len(add)
}

// recall shows what was said so many turns ago.
func (s *screen) recall(back int) {
	if back < 0 || back > len(s.said) {
		return
	}
	s.back, s.line = back, nil
	if back > 0 {
		s.line = []rune(s.said[len(s.said)-back])
	}
	s.at = len(s.line)
}

// enter says the line, or carries it out; while an answer comes, after that.
func (s *screen) enter() tea.Cmd {
	text := strings.TrimSpace(string(s.line))
	s.due = text != "" && s.cancel != nil
	if text == "" || s.due {
		return nil
	}
	s.said, s.back, s.line, s.at = append(s.said, text), 0, nil, 0
	echo := tea.Println("> " + text)
	if text[0] == '/' {
		said, quit := s.talk.order(text)
		if quit {
			return tea.Quit
		}
		return tea.Sequence(echo, tea.Println(said))
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.cancel = cancel
	echoed := make(chan struct{}) // commands run side by side: the answer must not overtake its question
	s.answering.Go(func() {
		defer cancel()
		select {
		case <-echoed:
		case <-ctx.Done():
		}
		err := s.talk.say(ctx, text, func(p string) { s.send(piece(p)) })
		if ctx.Err() != nil && s.ctx.Err() == nil {
			err = errors.New("stopped")
		}
		s.send(ended{err})
	})
	return tea.Sequence(echo, func() tea.Msg { close(echoed); return nil })
}

func (s *screen) View() tea.View {
	if s.cancel != nil {
		return tea.NewView(s.answer.String() + "▌")
	}
	prompt := "> "
	if s.talk.cfg.Agent != "" {
		prompt = s.talk.cfg.Agent + "> "
	}
	under := " "
	rest := ""
	if s.at < len(s.line) {
		under, rest = string(s.line[s.at]), string(s.line[s.at+1:])
	}
	return tea.NewView(prompt + string(s.line[:s.at]) + "\x1b[7m" + under + "\x1b[0m" + rest)
}
