# "containerize activate" and "deactivate" for fish; see shell-init.sh. To be sourced.

function containerize --description 'Activate and look after containerized installations'
    switch "$argv[1]"
        case activate
            _containerize_activate $argv[2..]
        case deactivate
            if string match -q -- '-*' "$argv[2]"
                command containerize $argv
            else
                _containerize_deactivate
            end
        case '*'
            command containerize $argv
    end
end

function _containerize_activate
    if test (count $argv) -eq 0; or string match -q -- '-*' $argv[1]
        command containerize activate --help
        contains -- "$argv[1]" -h --help
        and return 0
        return 2
    end
    set -l prefixes
    set -l names
    set -l with
    for one in $argv # all of them are found before anything is changed
        set -l found (_containerize_find $one)
        or return 1
        set -a prefixes $found
        set -a names (string replace -r '.*/' '' -- $found)
        # Not one that wraps a container of its own: its programs cannot run in others.
        if test -e $found/current/env; and string match -q -- "_cw_image=''" <$found/current/env
            set -a with $found
        end
    end
    _containerize_deactivate
    set -gx CONTAINERIZE_PREFIX (string join : -- $prefixes)
    set -gx PATH $prefixes/bin $PATH
    set -q TYKKY_PREFIX
    or set -gx TYKKY_PREFIX $prefixes[1]
    if test (count $prefixes) -gt 1; and test (count $with) -gt 0
        set -q CONTAINERIZE_WITH
        and set -a with $CONTAINERIZE_WITH
        set -gx CONTAINERIZE_WITH (string join : -- $with)
    end
    if test "$CONTAINERIZE_CHANGE_PS1" != 0; and test "$TYKKY_CHANGE_PS1" != 0
        and functions -q fish_prompt
        set -g _containerize_prompt "($names) "
        functions -c fish_prompt _containerize_fish_prompt
        function fish_prompt
            # The status of the last command is for the user's own prompt.
            set -l last $status
            printf %s $_containerize_prompt
            _containerize_status $last
            _containerize_fish_prompt
        end
    end
end

function _containerize_status
    return $argv[1]
end

# Takes away what activating added and nothing else: what came to PATH since then stays.
function _containerize_deactivate
    set -l prefixes (string split -n : -- "$CONTAINERIZE_PREFIX")
    set -l with (string split -n : -- "$CONTAINERIZE_WITH")
    if set -q prefixes[1]; and test "$TYKKY_PREFIX" = "$prefixes[1]"
        set -e TYKKY_PREFIX
    end
    for one in $prefixes
        set -l place (contains -i -- $one/bin $PATH)
        and set -e PATH[$place]
        set place (contains -i -- $one $with)
        and set -e with[$place]
    end
    if test (count $prefixes) -gt 1
        set -e CONTAINERIZE_WITH
        test (count $with) -eq 0
        or set -gx CONTAINERIZE_WITH (string join : -- $with)
    end
    if functions -q _containerize_fish_prompt
        functions -e fish_prompt
        functions -c _containerize_fish_prompt fish_prompt
        functions -e _containerize_fish_prompt
    end
    set -e CONTAINERIZE_PREFIX
    set -e _containerize_prompt
    return 0
end

function _containerize_find # NAME_OR_DIR: prints the absolute path of an installation
    set -l found
    if not string match -q '*/*' -- $argv[1]
        for folder in (string split -n : -- "$CONTAINERIZE_PATH:$TYKKY_PATH")
            if _containerize_is_one $folder/$argv[1]
                set found $folder/$argv[1]
                break
            end
        end
    end
    if test -z "$found"; and _containerize_is_one $argv[1]
        set found $argv[1]
    end
    if test -z "$found"
        printf '%s\n' "[ ERROR ] $argv[1] is no installation" \
            "  where:  $CONTAINERIZE_PATH $TYKKY_PATH" \
            "  to do:  name a directory, or one in a directory that CONTAINERIZE_PATH lists" >&2
        return 1
    end
    builtin realpath -s -- $found
end

function _containerize_is_one # ours, or Tykky's
    test -d "$argv[1]/bin"; and test -e "$argv[1]/common.sh"
end

if not type -q tykky
    function tykky --wraps containerize
        containerize $argv
    end
end

function _containerize_names
    for folder in (string split -n : -- "$CONTAINERIZE_PATH:$TYKKY_PATH")
        for one in $folder/*/bin
            set -l prefix (string replace -r '/bin$' '' -- $one)
            _containerize_is_one $prefix
            and string replace -r '.*/' '' -- $prefix
        end
    end
end
function _containerize_complete
    set -lx _CONTAINERIZE_COMPLETE fish_complete
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    command containerize 2>/dev/null | string match 'plain,*' | string replace plain, ''
end
complete -c containerize -n '__fish_seen_subcommand_from activate' -a '(_containerize_names)'
complete -c containerize -n 'not __fish_seen_subcommand_from activate' -a '(_containerize_complete)'
